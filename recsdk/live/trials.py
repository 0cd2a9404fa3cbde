"""Trials: challengers learn all that the policy learns, decide nothing, and are judged; one that is shown to be better takes its place.

A challenger is judged by each outcome before it learns from it: how much more, or less, its own probability of the item at the top would
have earned. Given what came before, that gain has the true difference of the two policies as its mean, whatever was learned meanwhile, so
the bound on it holds at every look at once, and one may stop at the first look that pleases.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import attrs
import numpy as np

from recsdk import states
from recsdk.base import Context, Policy, Rng
from recsdk.checks import check_probs, number
from recsdk.errors import InvalidProbs, InvalidValue, LedgerMismatch, one_of
from recsdk.ledger import DecisionRecord, RewardRecord
from recsdk.live import intake, marks
from recsdk.live.interactions import after
from recsdk.ope.intervals.sequence import Running
from recsdk.ope.terms import check_level

GIVEN = "policy"
"""The name of the policy that `Recommender.open` is given as `policy`."""


def _checked_challengers(instance: Any, field: Any, value: Any) -> None:
    del instance
    if not isinstance(value, tuple) or not value or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        raise InvalidValue(f"{field.name} must map at least one name to a policy, got {value!r}.")
    for name, policy in value:
        if not intake.is_name(name) or name == GIVEN:
            raise InvalidValue(f"{field.name} must have names of 1 to {intake.LONGEST_ID} bytes, and none {GIVEN!r}, got {name!r}.")
        intake.policy(policy)


def _is_bool(instance: Any, field: Any, value: Any) -> None:
    one_of(f"{type(instance).__name__}.{field.name}", value, (False, True))


def _is_level(instance: Any, field: Any, value: Any) -> None:
    del instance, field
    check_level(value)


def _pairs(challengers: Any) -> Any:
    return tuple(challengers.items()) if isinstance(challengers, Mapping) else challengers


@attrs.frozen(kw_only=True)
class Trials:
    """Challengers of a policy, and what it takes for one to become the champion, the policy that decides.

    The difference of a challenger to what decides is estimated off-policy from the reward of the item at the top. A challenger may be
    promoted when a lower bound of that difference, which holds at every look at once, is above zero. The champion before becomes a
    challenger, and may come back the same way.

    Attributes:
        challengers: policies by name, or as configs; given as a mapping by names of their own.
        level: probability with which no challenger that is not better is ever promoted; several share the error.
        automatic: whether a challenger is promoted as soon as it may; otherwise `Recommender.promote` does it.
        guard: the least mean reward of the item at the top. When a promoted champion is shown to earn less, at the same level, the
            champion before it comes back; None for no guard.

    Example:
        >>> Trials(challengers={"bold": "lin-ts"}, automatic=True).level
        0.95
    """

    challengers: tuple[tuple[str, Any], ...] = attrs.field(converter=_pairs, validator=_checked_challengers)
    level: float = attrs.field(default=0.95, validator=_is_level)
    automatic: bool = attrs.field(default=False, validator=_is_bool)
    guard: float | None = attrs.field(default=None, validator=attrs.validators.optional(number()))


class Standing(NamedTuple):
    """The standing of a challenger: how much better it is than the policy that decides, as far as is known.

    Attributes:
        name: of the challenger.
        num_rounds: outcomes by which it has been judged.
        advantage: mean reward at the top that it would have earned, less what was earned; 0 before the first outcome.
        low: lower bound of the advantage, which may be looked at as often as you like: see `Trials.level`.
        share: of the traffic that it decides, see `Recommender.ramp`.
        error: the error that it raised; from then on it neither learns nor is judged. "" for none.

    Example:
        >>> Standing("bold", num_rounds=800, advantage=0.1, low=0.02, share=0.0, error="").low > 0
        True
    """

    name: str
    num_rounds: int
    advantage: float
    low: float
    share: float
    error: str


class Entry:
    """A challenger: a policy with its state, and its gains since it has been judged."""

    def __init__(self, name: str, policy: Policy[Any], start: int) -> None:
        self.name = name
        self.policy = policy
        self.state: Any = None
        self.start = start  # decisions that had learned so many outcomes, or more, are those it is judged by
        self.gains = Running()
        self.error = ""

    def fresh(self, prior: np.ndarray) -> None:
        """Starts again from nothing."""
        self.close()
        self.gains, self.error = Running(), ""
        try:
            self.state = self.policy.init(prior)
        except Exception as error:
            self._fail(error)

    def judge(self, record: DecisionRecord, reward: RewardRecord, bounds: tuple[float, float]) -> None:
        """Is judged by an outcome that it has not learned. What it raises is its own end, not that of the shop."""
        if self.error or not is_judged(record, reward, self.start):
            return
        try:
            self.gains = self.gains.add(self._gain(record, share_of(reward.value, bounds)))
        except Exception as error:
            self._fail(error)

    def learn(self, record: DecisionRecord, reward: RewardRecord, earlier: RewardRecord | None) -> None:
        """Learns from an outcome; `earlier` is what it corrects.

        Raises:
            LedgerMismatch: it learns from all candidates, and the ledger has kept the shown ones.
        """
        if self.error:
            return
        try:
            self.state = after(self.policy, self.state, record, reward, earlier)
        except LedgerMismatch:
            raise
        except Exception as error:
            self._fail(error)

    def _gain(self, record: DecisionRecord, earned: float) -> float:
        action = int(record.action[0])
        context = Context(record.features.astype(np.float64), marks.left(record, 0), record.slots.astype(np.int64))
        probs = self.policy.probs(self.state, _rng(record.decision_id, self.name), context)
        if not isinstance(probs, np.ndarray):
            raise InvalidProbs(f"probs must be an array of NumPy, got {type(probs).__name__}.")
        check_probs(probs, probs.sum(), context.mask)
        return float(1 - earned + earned * probs[action] / record.probs[0, action])

    def _fail(self, error: Exception) -> None:
        self.close()
        self.error = f"{type(error).__name__}: {error}"

    def close(self) -> None:
        """Frees what a native policy holds."""
        if self.state is not None:
            states.close(self.policy, self.state)
            self.state = None


def is_judged(record: DecisionRecord, reward: RewardRecord, start: int) -> bool:
    """Tells whether policies are judged by an outcome: one at the top, or of the page, of a decision that the champion has drawn.

    What a holdout decides, or a mixture with it, would measure the difference to the holdout.
    """
    if not marks.is_of_the_policy(record) or marks.unfit(record, 0) is not None:
        return False
    return reward.position <= 0 and not reward.void and record.num_learned >= start and len(record.features) == len(record.slots)


def share_of(value: float, bounds: tuple[float, float]) -> float:
    """Returns a reward as a share of its range."""
    return (value - bounds[0]) / (bounds[1] - bounds[0])


def _rng(decision_id: str, name: str) -> Rng:
    key = hashlib.blake2b(f"{name}/{decision_id}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(key, "big"))


@attrs.frozen(kw_only=True)
class Ramped:
    """Lets a challenger decide a share of the traffic: the distribution is the exact mixture, and so are the propensities.

    Attributes:
        policies: the champion and the challenger; the state is a pair of theirs.
        share: of the challenger.
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy",)

    policies: tuple[Policy[Any], Policy[Any]]
    share: float

    def probs(self, state: Any, rng: Rng, context: Context) -> Any:
        """Returns f64[K]."""
        first, second = (policy.probs(part, rng, context) for policy, part in zip(self.policies, state, strict=True))
        return (1 - self.share) * first + self.share * second


def bounds_of(trials: Trials, reward_range: tuple[float, float] | None, feedback: Any) -> tuple[float, float]:
    """Returns the least and the largest reward, which judging needs.

    Raises:
        InvalidValue: none is known, or the guard is outside.
    """
    bounds = reward_range
    if feedback is not None and feedback.cap is not None:
        ends = (-feedback.cap, feedback.cap, 0.0 if feedback.default is None else feedback.default)
        bounds = (min(ends), max(ends))
    if bounds is None:
        raise InvalidValue("trials need to know the least and the largest reward: declare reward_range=, or the cap of the feedback.")
    if trials.guard is not None and not bounds[0] < trials.guard < bounds[1]:
        raise InvalidValue(f"guard must lie between the least and the largest reward, {bounds}, got {trials.guard}.")
    return bounds
