"""The exploration floor that keeps a log fit for evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from recsdk import explore
from recsdk.base import Array, Context, Interaction, Policy, Rng
from recsdk.checks import number


@attrs.frozen(kw_only=True)
class WithFloor:
    """Mixes a policy with a share `floor` of uniform exploration, so that every propensity is at least floor / K.

    The live loop wraps its policy in this by default. Without it, importance weighting of a Thompson sampler's log is biased (.252 for a
    true .500 was measured), since actions that it has given up never appear; with 5 % it is not, and intervals on the log are valid
    (see docs/explanation/propensities.md).
    """

    policy: Policy[Any]
    floor: float = attrs.field(default=0.05, validator=number(above=0, at_most=1))

    @property
    def runs_on(self) -> tuple[str, ...]:
        """Where the wrapped policy runs."""
        return self.policy.runs_on

    @property
    def learns_from(self) -> str:
        """What the wrapped policy learns from."""
        return self.policy.learns_from

    @property
    def parts(self) -> tuple[Policy[Any], ...]:
        """See `recsdk.base.Composite`."""
        return (self.policy,)

    def map_parts(self, function: Callable[[Policy[Any], Any], Any], state: Any) -> Any:
        """See `recsdk.base.Composite`; the state is that of the wrapped policy."""
        return function(self.policy, state)

    def init(self, prior: Array) -> Any:
        """See `recsdk.base.Policy`."""
        return self.policy.init(prior)

    def probs(self, state: Any, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        return explore.mix(self.policy.probs(state, rng, context), context.mask, self.floor)

    def update(self, state: Any, interaction: Interaction) -> Any:
        """See `recsdk.base.Policy`."""
        return self.policy.update(state, interaction)
