"""The laws of policies, in the order in which to look at failures."""

from __future__ import annotations

from collections.abc import Callable

from recsdk.testing.candidates import check_distribution, check_order, check_padding, check_purity, check_ties
from recsdk.testing.declarations import check_declaration
from recsdk.testing.engines import check_engines, check_settings, check_strictness
from recsdk.testing.folding import check_chosen, check_fold, check_forget, check_merge, check_snapshot, check_weight
from recsdk.testing.honesty import check_honesty
from recsdk.testing.learning import check_learns
from recsdk.testing.refusals import check_refusal

POLICY_CHECKS: tuple[Callable[..., None], ...] = (
    check_declaration,
    check_distribution,
    check_order,
    check_padding,
    check_ties,
    check_purity,
    check_honesty,
    check_fold,
    check_weight,
    check_chosen,
    check_snapshot,
    check_merge,
    check_forget,
    check_engines,
    check_strictness,
    check_settings,
    check_learns,
    check_refusal,
)
"""The laws of policies: each takes a policy and raises AssertionError, which names the law, the policy and the input that breaks it.

A law that does not apply, such as one about JAX for native code, raises `unittest.SkipTest` with the reason, which pytest shows.
"""
