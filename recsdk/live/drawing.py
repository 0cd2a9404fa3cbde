"""The draw of a slate where more than the policy decides: arms that share the traffic, pinned and promoted positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import attrs
import numpy as np

from recsdk.base import Context, Decision, Policy, decide
from recsdk.errors import InvalidProbs
from recsdk.live.faults import STRICT, Asking
from recsdk.live.guard import frozen
from recsdk.live.marks import Marks, free

ALL_OF_IT = np.ones(1)
"""The weight of one arm."""


class Arm(NamedTuple):
    """A policy that may decide, with a share of the traffic.

    Attributes:
        name: as the record's marks have it.
        share: in (0, 1]; those of all arms of a request sum to 1.
        policy: gives the distributions.
        state: its state.
    """

    name: str
    share: float
    policy: Policy[Any]
    state: Any


class Places(NamedTuple):
    """What the application wants at positions, as indices of candidates.

    Attributes:
        pinned: the one to show at a position.
        promoted: those that a position is to be drawn from. Where none of them is left, all are.
    """

    pinned: Mapping[int, int] = {}
    promoted: Mapping[int, Sequence[int]] = {}


class Drawn(NamedTuple):
    """A slate, and who chose it.

    Attributes:
        decision: with a leading L; its probabilities are those of the whole procedure, given what stands above.
        arm: whose choice it is.
        promoted: the positions that were drawn from the promoted candidates only, with these.
    """

    decision: Decision
    arm: Arm
    promoted: tuple[tuple[int, tuple[int, ...]], ...]


@attrs.frozen(kw_only=True)
class _Given:
    """A policy whose state is the distribution itself."""

    runs_on: ClassVar[tuple[str, ...]] = ("numpy",)
    learns_from: ClassVar[str] = "chosen"

    def init(self, prior: Any) -> Any:
        return prior

    def probs(self, state: Any, rng: Any, context: Context) -> Any:
        del rng, context
        return state

    def update(self, state: Any, interaction: Any) -> Any:
        del interaction
        return state


class Source(NamedTuple):
    """Where the random numbers of a decision come from, and how its arms are asked.

    Attributes:
        rng: of the arms and of the draw.
        spare: gives, the same at each call, what takes its place once an arm has failed: nobody knows how much that has taken of `rng`, and
            a late one still takes.
        asking: asks the arms.
        names: of the arms.
    """

    rng: np.random.Generator
    spare: Callable[[], np.random.Generator]
    asking: Asking
    names: frozenset[str]

    @property
    def present(self) -> np.random.Generator:
        """The one to draw from now."""
        if not self.asking.failed:
            return self.rng
        return self.spare() if self.names & self.asking.failed.keys() else self.rng


def draw(
    arms: Sequence[Arm],
    rng: np.random.Generator,
    context: Context,
    size: int,
    places: Places,
    spare: Callable[[], np.random.Generator] | None = None,
    asking: Asking = STRICT,
) -> Drawn:
    """Fills a slate from the top, each position by a draw from what is left for it.

    One arm chooses the whole slate, and which one is drawn too. So the probability of an item at a position is the mean of the arms'
    probabilities, weighted by how probable each arm is given what stands above: its share times its probability of that. The slate is
    drawn from these means, and then the arm, given the slate; that is the same procedure as the other way round.

    An arm that fails gives what is left equal probability, from that position on; what stands above it was drawn as it is logged.

    Args:
        arms: who may choose.
        rng: the arms draw from it, and then the slate is.
        context: the candidates.
        size: L.
        places: what the application wants.
        spare: see `Source`.
        asking: asks the arms.
    """
    names = frozenset((arms[0].name,)) if len(arms) == 1 else frozenset(arm.name for arm in arms)
    source = Source(rng, spare or (lambda: rng), asking, names)
    if len(arms) == 1 and not places.pinned and not places.promoted:
        return Drawn(_plain(arms, source, context, size), arms[0], ())
    weights, decisions, promoted = np.array([arm.share for arm in arms]), list[Decision](), list[tuple[int, tuple[int, ...]]]()
    action = np.full(size, -1)
    action[list(places.pinned)] = list(places.pinned.values())
    marks = Marks(pinned=tuple(sorted(places.pinned)))
    for position in range(size):
        wanted = marks._replace(promoted=tuple((place, tuple(found)) for place, found in places.promoted.items() if place == position))
        mask = free(context.mask, action, position, wanted)
        if not mask.any():
            mask, wanted = free(context.mask, action, position, marks), marks
        promoted.extend(wanted.promoted)
        if position in places.pinned:
            decisions.append(_fixed(len(mask), action[position]))
            continue
        by_arm, decision = _drawn(arms, weights, source, context._replace(mask=frozen(mask)))
        action[position] = decision.action
        weights = weights * by_arm[:, decision.action]
        weights /= weights.sum()
        decisions.append(decision)
    chosen = arms[0] if len(arms) == 1 else arms[int(decide(_Given(), weights, source.present, _among(len(arms))).action)]
    return Drawn(_stacked(decisions), chosen, tuple(promoted))


def _plain(arms: Sequence[Arm], source: Source, context: Context, size: int) -> Decision:
    """Is `draw` for one arm, and an application that wants nothing at any position."""
    decisions = list[Decision]()
    while True:
        _, decision = _drawn(arms, ALL_OF_IT, source, context)
        decisions.append(decision)
        if len(decisions) == size:
            return _stacked(decisions)
        mask = context.mask.copy()
        mask[decision.action] = False
        context = context._replace(mask=frozen(mask))


def taken(
    arm: Arm, rng: np.random.Generator, context: Context, action: np.ndarray, asking: Asking = STRICT
) -> tuple[Decision, tuple[float, ...]]:
    """Returns the application's own choice as a decision, and the probability of each item by the policy, given what stands above.

    Where the policy fails, nothing is known of these probabilities.
    """
    agreement, mask = [], context.mask.copy()
    for index in action.tolist():
        answer = _answer(arm, rng, context._replace(mask=frozen(mask.copy())), asking)
        agreement.append(np.nan if answer is None else float(answer.probs[index]))
        mask[index] = False
    return _stacked([_fixed(len(mask), index) for index in action]), () if arm.name in asking.failed else tuple(agreement)


def _drawn(arms: Sequence[Arm], weights: np.ndarray, source: Source, context: Context) -> tuple[np.ndarray, Decision]:
    answers = [_answer(arm, source.present, context, source.asking) for arm in arms]
    if len(answers) == 1 and answers[0] is not None:
        return answers[0].probs[None], answers[0]
    uniform = context.mask / context.mask.sum()
    by_arm = np.stack([uniform if answer is None else answer.probs for answer in answers])
    mixture = uniform if len(arms) == 1 else (weights[:, None] * by_arm).sum(axis=0)
    return by_arm, decide(_Given(), mixture, source.present, context)


def _answer(arm: Arm, rng: np.random.Generator, context: Context, asking: Asking) -> Decision | None:
    """Returns what an arm would choose, and how probably; None where it fails."""

    def answer() -> Decision:
        decision = decide(arm.policy, arm.state, rng, context)
        if np.count_nonzero(context.mask) < len(context.mask) and decision.probs[~context.mask].any():
            raise InvalidProbs(f"probs must be zero on padding and on what stands above, got {decision.probs!r}.")
        return decision

    return asking(arm.name, arm.policy, answer, lambda: None)


def _fixed(num_candidates: int, index: Any) -> Decision:
    probs = np.zeros(num_candidates)
    probs[index] = 1.0
    return Decision(np.int64(index), np.float64(1.0), probs)


def _among(number: int) -> Context:
    return Context(np.zeros((number, 0)), np.ones(number, bool), np.arange(number))


def _stacked(decisions: Sequence[Decision]) -> Decision:
    action, propensity, probs = zip(*decisions, strict=True)
    return Decision(np.array(action), np.array(propensity), np.array(probs))


def stream(key: bytes) -> np.random.Generator:
    """Returns a stream of random numbers for 16 bytes, always the same."""
    return np.random.Generator(np.random.Philox(_Key(key)))  # type: ignore[arg-type]  # its stub forgets `ISeedSequence`


class Later:
    """A stream of random numbers that is made when one is first drawn: that takes some microseconds."""

    def __init__(self, make: Callable[[], np.random.Generator]) -> None:
        self._make = make
        self._stream: np.random.Generator | None = None

    def made(self) -> np.random.Generator:
        """Returns the stream itself, always the same."""
        if self._stream is None:
            self._stream = self._make()
        return self._stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.made(), name)


class _Key(np.random.bit_generator.ISeedSequence):
    """A key of Philox; given by name, NumPy would ask the system for randomness first, which takes four times as long."""

    def __init__(self, key: bytes) -> None:
        self.key = key

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray:
        del n_words, dtype  # two words of 64 bits, as Philox asks for
        return np.frombuffer(self.key, "<u8")
