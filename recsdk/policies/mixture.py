"""Several policies at once, each deciding a share of the rounds."""

from __future__ import annotations

import math
from typing import Any

import attrs

from recsdk.base import Array, Context, Interaction, Policy, Rng
from recsdk.checks import require_number
from recsdk.errors import InvalidValue
from recsdk.policies import _inner


def _adds_up(instance: Mixture, field: Any, shares: Any) -> None:
    del field
    num = len(instance.policies)
    if not isinstance(shares, tuple) or len(shares) != num:
        raise InvalidValue(f"Mixture.shares must be a tuple of {num} numbers, one for each policy, got {shares!r}.")
    for index, share in enumerate(shares):
        require_number(f"Mixture.shares[{index}]", share, above=0, at_most=1)
    if abs(math.fsum(shares) - 1) > 1e-9:
        raise InvalidValue(f"Mixture.shares must sum to 1, got {shares} with sum {math.fsum(shares)}.")


@attrs.frozen(kw_only=True)
class Mixture:
    """Lets each of several policies decide a fixed share of the rounds; all of them learn from every interaction.

    The propensity is that of the whole, sum_i shares_i p_i(a), whichever policy it came from: so one log serves an A/B test, the policies
    that lose it, and any other. For shares that follow the rewards see `EXP4`.

    Attributes:
        policies: to mix.
        shares: of the rounds, one for each policy, each in (0, 1], with sum 1.

    Example:
        >>> from recsdk import LinTS, LinUCB, Mixture
        >>> Mixture(policies=(LinTS(), LinUCB()), shares=(0.9, 0.1)).learns_from
        'chosen'

    References:
        Agarwal, Basu, Schnabel, Joachims, Effective Evaluation Using Logged Bandit Feedback from Multiple Loggers, KDD 2017: why the
        mixture's propensity is the one to log.
    """

    policies: tuple[Policy[Any], ...] = attrs.field(validator=_inner.together)
    shares: tuple[float, ...] = attrs.field(validator=_adds_up)

    @property
    def runs_on(self) -> tuple[str, ...]:
        """Where all of the policies run."""
        return _inner.runs_on(self.policies)

    @property
    def learns_from(self) -> str:
        """What the policies learn from."""
        return _inner.learns_from(self.policies)

    @property
    def parts(self) -> tuple[Policy[Any], ...]:
        """See `recsdk.base.Composite`."""
        return self.policies

    def map_parts(self, function: _inner.Function, state: tuple[Any, ...]) -> tuple[Any, ...]:
        """See `recsdk.base.Composite`."""
        return _inner.map_parts(self.policies, function, state)

    def init(self, prior: Array) -> tuple[Any, ...]:
        """See `recsdk.base.Policy`."""
        return _inner.init(self.policies, prior)

    def probs(self, state: tuple[Any, ...], rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        first, *others = (share * probs for share, probs in zip(self.shares, _inner.probs(self.policies, state, rng, context), strict=True))
        return sum(others, start=first)

    def update(self, state: tuple[Any, ...], interaction: Interaction) -> tuple[Any, ...]:
        """See `recsdk.base.Policy`."""
        return _inner.update(self.policies, state, interaction)
