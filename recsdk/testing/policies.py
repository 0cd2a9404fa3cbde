"""The laws of policies, in the order in which to look at failures."""

from __future__ import annotations

from collections.abc import Callable

from recsdk.testing.candidates import check_distribution, check_extremes, check_floor, check_order, check_padding, check_shapes, check_ties
from recsdk.testing.costs import check_memory, check_speed
from recsdk.testing.declarations import check_declaration
from recsdk.testing.engines import check_batch, check_engines, check_settings, check_strictness
from recsdk.testing.explaining import check_scores
from recsdk.testing.folding import (
    check_chosen,
    check_commutes,
    check_fold,
    check_forget,
    check_merge,
    check_snapshot,
    check_update,
    check_weight,
)
from recsdk.testing.honesty import check_calibration, check_draws, check_importance, check_spread
from recsdk.testing.learning import check_learns, check_regret
from recsdk.testing.live import check_live
from recsdk.testing.processes import check_processes
from recsdk.testing.purity import check_inputs, check_purity, check_randomness, check_threads
from recsdk.testing.refusals import check_refusal

POLICY_CHECKS: tuple[Callable[..., None], ...] = (
    check_declaration,
    check_update,
    check_shapes,
    check_distribution,
    check_extremes,
    check_floor,
    check_inputs,
    check_purity,
    check_randomness,
    check_order,
    check_padding,
    check_ties,
    check_spread,
    check_draws,
    check_calibration,
    check_importance,
    check_fold,
    check_weight,
    check_chosen,
    check_snapshot,
    check_commutes,
    check_merge,
    check_forget,
    check_scores,
    check_engines,
    check_batch,
    check_strictness,
    check_settings,
    check_refusal,
    check_live,
    check_processes,
    check_threads,
    check_learns,
    check_regret,
    check_memory,
    check_speed,
)
"""The laws of policies: each takes a policy and raises AssertionError, which names the law, the policy and the input that breaks it.

A law that does not apply, such as one about JAX for native code, raises `unittest.SkipTest` with the reason, which pytest shows.
"""
