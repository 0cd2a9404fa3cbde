"""Policies for a world that changes: old rounds are discounted, or dropped."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import attrs
import numpy as np

from recsdk import arrays
from recsdk.base import Array, Context, Explained, Forgettable, Interaction, Native, Policy, Rng, Scores
from recsdk.checks import integer, number
from recsdk.errors import InvalidValue
from recsdk.policies import _inner, _ridge
from recsdk.policies._ridge import Ridge

LEAST_KEPT = 1e-12
"""Least share of the past that a round of any weight leaves; prevents a division by 0."""


def _keeps_a_ridge(instance: Any, field: Any, policy: Any) -> None:
    if not isinstance(policy.init(np.zeros(1)), Ridge):
        choices = "LinUCB, LinTS, EpsilonGreedy, EpsilonDecay, Boltzmann, SquareCB or LogisticTS"
        raise InvalidValue(f"{type(instance).__name__}.{field.name} must be a linear policy: {choices}, got {policy!r}.")


def _forgets(instance: Any, field: Any, policy: Any) -> None:
    if policy.learns_from != "chosen" or not isinstance(policy, Forgettable) or isinstance(policy, Native):
        wanted = "a policy of arrays that learns from the chosen candidate and offers `forget` (recsdk.base.Forgettable)"
        raise InvalidValue(f"{type(instance).__name__}.{field.name} must be {wanted}, got {policy!r}.")


class Discount(NamedTuple):
    """State of `Discounted`.

    Attributes:
        belief: state of the wrapped policy.
        turn: i64[], the coordinate whose prior is renewed next.
    """

    belief: Ridge
    turn: Array


@attrs.frozen(kw_only=True, slots=False)
class Discounted:
    """Lets a linear policy forget gradually: each round multiplies the weight of all earlier ones by `discount`.

    The belief is that of ridge regression with weights discount^age: about the last 1 / (1 - discount) rounds. Where nothing new is
    learned, uncertainty grows back to that of the prior, so abandoned items are tried again. A round of weight w ages the past by w rounds.

    The prior is renewed one coordinate a round: its weight is exact on average, and at any time within D (1 - discount) of `ridge`,
    relative. Keep D well below 1 / (1 - discount).

    Attributes:
        policy: a linear policy that keeps one belief: one of `recsdk.policies.linear`, or LogisticTS.
        discount: share of its weight that a round keeps for each later round, in (0, 1]; 1 forgets nothing.

    Example:
        >>> import numpy as np
        >>> from recsdk import Context, Discounted, Interaction, LinUCB, learn
        >>> policy, context = Discounted(policy=LinUCB(), discount=0.5), Context(np.ones((1, 1)), np.ones(1, bool), np.arange(1))
        >>> state = learn(policy, policy.init(np.zeros(1)), Interaction(context, 0, 1.0, 1.0, 1.0))
        >>> learn(policy, state, Interaction(context, 0, 1.0, 1.0, 1.0)).belief.total
        np.float64(1.5)

    References:
        Russac, Vernade, Cappe, Weighted Linear Bandits for Non-Stationary Environments, NeurIPS 2019, algorithm 1.
    """

    policy: Policy[Any] = attrs.field(validator=_keeps_a_ridge)
    discount: float = attrs.field(default=0.999, validator=number(above=0, at_most=1))

    runs_on = _inner.runs_on_of_policy
    learns_from = _inner.learns_from_of_policy

    def __attrs_post_init__(self) -> None:
        _inner.offer(self, (self.policy,), Explained)

    def init(self, prior: Array) -> Discount:
        xp = prior.__array_namespace__()
        return Discount(self.policy.init(prior), xp.zeros((), dtype=xp.int64))

    def probs(self, state: Discount, rng: Rng, context: Context) -> Array:
        return self.policy.probs(state.belief, rng, context)

    def _scores(self, state: Discount | Window, context: Context) -> Scores:
        return self.policy.scores(state.belief, context)  # type: ignore[attr-defined,no-any-return]  # `offer` has asked for it

    def update(self, state: Discount, interaction: Interaction) -> Discount:
        belief, turn = state
        xp = belief.mean.__array_namespace__()
        keep = xp.maximum(self.discount**interaction.weight, LEAST_KEPT)
        belief = self.policy.update(_ridge.fade(belief, keep, turn), interaction)
        # [()] makes of NumPy's array without axes a number, which is a quick index
        return Discount(belief, xp.where(interaction.weight > 0, (turn + 1) % belief.mean.shape[0], turn)[()])


class Rounds(NamedTuple):
    """The last W rounds, in a ring: round number t stands at t % W.

    Attributes:
        features: f64[W, D], phi of the chosen candidate.
        item: i64[W], slot of the chosen candidate.
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
    """State of `Windowed`.

    Attributes:
        belief: state of the wrapped policy, from the last W rounds.
        successor: the next belief: it learns the same rounds but forgets none, and takes over when it has learned W of them.
        prior: f64[D], to start the next successor from.
        rounds: the last W rounds.
        time: i64[], how many rounds there were.
    """

    belief: Any
    successor: Any
    prior: Array
    rounds: Rounds
    time: Array


@attrs.frozen(kw_only=True, slots=False)
class Windowed:
    """Lets a policy know the last `window` rounds only.

    Each round costs two updates and one `forget`. Forgetting loses digits, so every `window` rounds the belief is replaced by another that
    has learned exactly these rounds and forgotten none. Rounds of weight 0 do not count. Memory: 8 window (D + 4) bytes, and three beliefs.

    Attributes:
        policy: a policy that offers `forget` (`recsdk.base.Forgettable`), such as those of `recsdk.policies.linear`.
        window: number of rounds, W >= 1.

    Example:
        >>> import numpy as np
        >>> from recsdk import Context, Interaction, LinTS, Windowed, learn
        >>> policy, context = Windowed(policy=LinTS(), window=1), Context(np.ones((1, 1)), np.ones(1, bool), np.arange(1))
        >>> state = learn(policy, policy.init(np.zeros(1)), Interaction(context, 0, 1.0, 1.0, 1.0))
        >>> learn(policy, state, Interaction(context, 0, 1.0, 1.0, 1.0)).belief.total
        np.float64(1.0)

    References:
        Cheung, Simchi-Levi, Zhu, Learning to Optimize under Non-Stationarity, AISTATS 2019, algorithm 1.
    """

    policy: Policy[Any] = attrs.field(validator=_forgets)
    window: int = attrs.field(default=1000, validator=integer(at_least=1))

    runs_on = _inner.runs_on_of_policy
    learns_from: ClassVar[str] = "chosen"  # the other candidates are not kept

    def __attrs_post_init__(self) -> None:
        _inner.offer(self, (self.policy,), Explained)

    def init(self, prior: Array) -> Window:
        xp = prior.__array_namespace__()
        numbers = [xp.zeros(self.window, dtype=xp.float64) for _ in range(3)]
        features = xp.zeros((self.window, prior.shape[0]), dtype=xp.float64)
        rounds = Rounds(features, xp.zeros(self.window, dtype=xp.int64), *numbers)
        return Window(self.policy.init(prior), self.policy.init(prior), prior * 1.0, rounds, xp.zeros((), dtype=xp.int64))

    def probs(self, state: Window, rng: Rng, context: Context) -> Array:
        return self.policy.probs(state.belief, rng, context)

    def _scores(self, state: Discount | Window, context: Context) -> Scores:
        return self.policy.scores(state.belief, context)  # type: ignore[attr-defined,no-any-return]  # `offer` has asked for it

    def update(self, state: Window, interaction: Interaction) -> Window:
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
