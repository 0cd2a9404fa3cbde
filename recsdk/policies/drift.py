"""Linear policies for a world that changes: old rounds count for less and less, or are dropped."""

from __future__ import annotations

from typing import Any, NamedTuple

import attrs
import numpy as np

from recsdk import arrays
from recsdk.base import Array, Context, Forgettable, Interaction, Native, Policy, Rng
from recsdk.checks import integer, number
from recsdk.errors import InvalidValue
from recsdk.policies import _ridge
from recsdk.policies._ridge import Ridge

LEAST_KEPT = 1e-12
"""Of what was known, by a round of whatever weight: so that what it stood for is not divided by 0."""


def _keeps_a_ridge(instance: Any, field: Any, policy: Any) -> None:
    if not isinstance(policy.init(np.zeros(1)), Ridge):
        choices = "LinUCB, LinTS, EpsilonGreedy, SquareCB or LogisticTS"
        raise InvalidValue(f"{type(instance).__name__}.{field.name} must be a linear policy: {choices}, got {policy!r}.")


def _forgets(instance: Any, field: Any, policy: Any) -> None:
    if policy.learns_from != "chosen" or not isinstance(policy, Forgettable) or isinstance(policy, Native):
        wanted = "a policy of arrays that learns from the chosen candidate and offers `forget` (recsdk.base.Forgettable)"
        raise InvalidValue(f"{type(instance).__name__}.{field.name} must be {wanted}, got {policy!r}.")


class Discount(NamedTuple):
    """What a discounted policy knows.

    Attributes:
        belief: of the policy inside.
        turn: i64[], the coordinate whose prior is renewed next.
    """

    belief: Ridge
    turn: Array


@attrs.frozen(kw_only=True)
class Discounted:
    """Lets a linear policy forget: a round counts `discount` of what it did for every round since.

    The belief is that of ridge regression with weights discount^age: about the last 1 / (1 - discount) rounds. Doubt grows again where
    nothing new is learned, up to that of the prior, so what was given up is tried again. A round of weight w ages the past by w rounds.

    The prior is renewed one coordinate a round: its weight is exact on average, and within D (1 - discount) of `ridge`, relative, at any
    time; keep D well below 1 / (1 - discount).

    Attributes:
        policy: a linear policy that keeps one belief: LinUCB, LinTS, EpsilonGreedy, SquareCB or LogisticTS.
        discount: in (0, 1]; 1 forgets nothing.

    Example:
        >>> from recsdk import Discounted, LinUCB
        >>> Discounted(policy=LinUCB(), discount=0.99).learns_from
        'chosen'

    References:
        Russac, Vernade, Cappe, Weighted Linear Bandits for Non-Stationary Environments, NeurIPS 2019, algorithm 1.
    """

    policy: Policy[Any] = attrs.field(validator=_keeps_a_ridge)
    discount: float = attrs.field(default=0.999, validator=number(above=0, at_most=1))

    @property
    def runs_on(self) -> tuple[str, ...]:
        """Where the policy inside runs."""
        return self.policy.runs_on

    @property
    def learns_from(self) -> str:
        """What the policy inside learns from."""
        return self.policy.learns_from

    def init(self, prior: Array) -> Discount:
        """See `recsdk.base.Policy`."""
        xp = prior.__array_namespace__()
        return Discount(self.policy.init(prior), xp.zeros((), dtype=xp.int64))

    def probs(self, state: Discount, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        return self.policy.probs(state.belief, rng, context)

    def update(self, state: Discount, interaction: Interaction) -> Discount:
        """See `recsdk.base.Policy`."""
        belief, turn = state
        xp = belief.mean.__array_namespace__()
        keep = xp.maximum(self.discount**interaction.weight, LEAST_KEPT)
        belief = self.policy.update(_ridge.fade(belief, keep, turn), interaction)
        # [()] makes of NumPy's array without axes a number, which is a quick index
        return Discount(belief, xp.where(interaction.weight > 0, (turn + 1) % belief.mean.shape[0], turn)[()])


class Rounds(NamedTuple):
    """The last rounds, in a ring: the round number t stands at t % W.

    Attributes:
        features: f64[W, D], of the chosen candidate.
        item: i64[W], its slot.
        reward: f64[W].
        propensity: f64[W].
        weight: f64[W], 0 where there was no round yet.
    """

    features: Array
    item: Array
    reward: Array
    propensity: Array
    weight: Array


class Window(NamedTuple):
    """What a windowed policy knows.

    Attributes:
        belief: of the policy inside, from the last W rounds.
        successor: what will be the belief when its first round is the oldest of the W: then it has learned them and never forgotten any.
        prior: f64[D], to start the next successor from.
        rounds: the last W rounds.
        time: i64[], how many rounds there were.
    """

    belief: Any
    successor: Any
    prior: Array
    rounds: Rounds
    time: Array


@attrs.frozen(kw_only=True)
class Windowed:
    """Lets a policy know the last `window` rounds only.

    Each round costs two updates and one `forget`. Forgetting costs digits, so every `window` rounds the belief is replaced by another that
    has learned exactly these rounds and forgotten none. Rounds of weight 0 do not count. Memory: 8 window (D + 4) bytes, and three beliefs.

    Attributes:
        policy: offers `forget`: LinUCB, LinTS, EpsilonGreedy or SquareCB.
        window: number of rounds, W >= 1.

    Example:
        >>> from recsdk import LinTS, Windowed
        >>> Windowed(policy=LinTS(), window=500).learns_from
        'chosen'

    References:
        Cheung, Simchi-Levi, Zhu, Learning to Optimize under Non-Stationarity, AISTATS 2019, algorithm 1.
    """

    policy: Policy[Any] = attrs.field(validator=_forgets)
    window: int = attrs.field(default=1000, validator=integer(at_least=1))

    @property
    def runs_on(self) -> tuple[str, ...]:
        """Where the policy inside runs."""
        return self.policy.runs_on

    @property
    def learns_from(self) -> str:
        """The chosen candidate: the others are not kept."""
        return "chosen"

    def init(self, prior: Array) -> Window:
        """See `recsdk.base.Policy`."""
        xp = prior.__array_namespace__()
        numbers = [xp.zeros(self.window, dtype=xp.float64) for _ in range(3)]
        features = xp.zeros((self.window, prior.shape[0]), dtype=xp.float64)
        rounds = Rounds(features, xp.zeros(self.window, dtype=xp.int64), *numbers)
        return Window(self.policy.init(prior), self.policy.init(prior), prior * 1.0, rounds, xp.zeros((), dtype=xp.int64))

    def probs(self, state: Window, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        return self.policy.probs(state.belief, rng, context)

    def update(self, state: Window, interaction: Interaction) -> Window:
        """See `recsdk.base.Policy`."""
        belief, successor, prior, rounds, time = state
        (features, _, item), action, *rest = interaction
        xp = features.__array_namespace__()
        place, counts = time % self.window, interaction.weight > 0
        old = Rounds(*(column[place] for column in rounds))
        new = Rounds(features[action], item[action], *rest)

        def slide(beliefs: tuple[Any, Any]) -> tuple[Any, Any]:
            now, later = beliefs
            kept = self.policy.forget(now, _interaction(old, xp))  # type: ignore[attr-defined]  # the validator has asked for it
            return self.policy.update(kept, _interaction(new, xp)), self.policy.update(later, _interaction(new, xp))

        beliefs = arrays.when(counts, slide, (belief, successor))
        rows = arrays.tree_map(lambda fresh, stale: xp.where(counts, fresh, stale), new, old)
        rounds = arrays.tree_map(lambda column, row: arrays.put(column, place, row), rounds, rows)
        time = xp.where(counts, time + 1, time)[()]
        is_due = counts & (time % self.window == 0)
        belief, successor = arrays.when(is_due, lambda beliefs: (beliefs[1], self.policy.init(prior)), beliefs)
        return Window(belief, successor, prior, rounds, time)


def _interaction(row: Rounds, xp: Any) -> Interaction:
    """Makes the round of one candidate."""
    context = Context(row.features[None, :], xp.ones(1, dtype=xp.bool), row.item[None])
    return Interaction(context, 0, row.reward, row.propensity, row.weight)
