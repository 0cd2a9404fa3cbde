"""From a request to a decision: candidates, evidence, and the draw."""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Context, Request
from recsdk.checks import require_integer
from recsdk.data import take
from recsdk.errors import EmptyCandidates, IgnoredInput, InvalidProbs, InvalidScores, InvalidValue, LedgerCorrupt, one_of, warn
from recsdk.ledger import DecisionRecord, Ledger
from recsdk.live import intake
from recsdk.live.catalogue import Rule
from recsdk.live.drawing import Arm, Later, Places, draw, stream, taken
from recsdk.live.faults import STRICT, Asking
from recsdk.live.guard import Features, everything, frozen
from recsdk.live.learner import Learner
from recsdk.live.marks import APPLICATION, POLICY, Marks, read
from recsdk.live.notices import Notices
from recsdk.live.placing import ANY, Placing
from recsdk.live.shelf import Shelf
from recsdk.live.traffic import Arms, is_draw

DRAW_SCHEME = "blake2b-philox-1"
NONE = np.zeros(0, np.int64)
SPARE = b"spare"
"""The purpose of the random numbers that are drawn where a part failed."""


class Slate(NamedTuple):
    """The items to show, from the top, and the id of the decision.

    Attributes:
        decision_id: to be given back with the reward.
        ids: L item ids, from the top.
        propensities: L probabilities, of each item at its position given those above it; 1 for what was not drawn.
        repeats: id of the decision whose slate this is, where it is served again, see `Traffic.sticky`.

    Example:
        >>> import recsdk
        >>> with recsdk.Recommender.open("shop", items=[{"id": "tea"}, {"id": "coffee"}]) as shop:
        ...     slate = shop.recommend({}, size=2, decision_id="visit-1")
        >>> slate.decision_id, sorted(slate.ids), slate.propensities
        ('visit-1', ['coffee', 'tea'], (0.5, 1.0))
    """

    decision_id: str
    ids: tuple[str, ...]
    propensities: tuple[float, ...]
    repeats: str | None = None


class Choice(NamedTuple):
    """How candidates are found and decisions logged, see `Recommender.open`.

    Attributes:
        rules: business rules.
        num_candidates: K at most.
        num_new: how many of them are the newest items.
        num_scored: how many items are scored where no vectors tell which are near.
        logs_all: whether the features of all candidates are kept.
    """

    rules: tuple[Rule, ...]
    num_candidates: int
    num_new: int
    num_scored: int
    logs_all: bool

    @classmethod
    def checked(cls, rules: Any, num_candidates: Any, num_new: Any, num_scored: Any, log_features: Any, needs_all: bool) -> Choice:
        """Returns the arguments of `Recommender.open` as a record.

        Raises:
            InvalidValue: one that is out of its range.
        """
        require_integer("num_candidates", num_candidates, at_least=1)
        num_new = num_candidates // 10 if num_new is None else num_new
        require_integer("num_new", num_new, at_least=0)
        require_integer("num_scored", num_scored, at_least=1)
        if num_new >= num_candidates:
            raise InvalidValue(f"num_new must be below num_candidates = {num_candidates}, got {num_new}.")
        one_of("log_features", log_features, ("shown", "all"))
        logs_all = log_features == "all" or needs_all
        return cls(intake.rules(rules), num_candidates, num_new, num_scored, logs_all)


class Found(NamedTuple):
    """The candidates of a request.

    Attributes:
        slots: i64[K], their slots in the catalogue.
        phi: f64[K, D], what the policy sees of them.
        shelf: what the catalogue held.
    """

    slots: np.ndarray
    phi: np.ndarray
    shelf: Shelf


class Ready(NamedTuple):
    """A decision that is not in the ledger yet.

    Attributes:
        record: as the ledger will have it.
        shelf: what the catalogue held.
        num_recoveries: of the learner whose state decided.
        standing: the user's slate that was there, and is served again or was not to be shown any more.
        is_new: whether it is a slate that was not shown before.
    """

    record: DecisionRecord
    shelf: Shelf
    num_recoveries: int
    standing: DecisionRecord | None = None
    is_new: bool = True


class Decider:
    """Finds the candidates of a request and draws a slate from them. Threads may share it.

    Attributes:
        arms: who decides for which request.
        notices: what is ignored is said through them.
        num_left_out: candidates that were left out since their scores were unusable, over all requests.
    """

    def __init__(self, learner: Learner, choice: Choice, arms: Arms) -> None:
        self.arms = arms
        self.notices = Notices()
        self.num_left_out = 0
        self._left_out: set[str] = set()
        self._counting = threading.Lock()
        self._learner = learner
        self._evidence = learner.evidence
        self._catalogue = learner.catalogue
        self._choice = choice
        self._salt = b""
        self._parts = ""

    def start(self, ledger: Ledger) -> None:
        """Reads the secret of the draws, and notes the parts that decisions are made with.

        Raises:
            LedgerCorrupt: when the secret is lost.
        """
        salt = ledger.get("salt")
        if salt is None:
            raise LedgerCorrupt("The ledger has lost its 'salt', without which its decisions cannot be repeated.")
        self._salt = salt
        self.note()
        self.arms.start(ledger, self._evidence.prior())

    @property
    def shelf(self) -> Shelf:
        """What the catalogue holds now."""
        return self._catalogue.shelf

    @property
    def is_started(self) -> bool:
        """Whether `start` has been called."""
        return bool(self._salt)

    def note(self) -> None:
        """Notes the parts that decisions are made with from now on; with the learner's lock, where these have just changed."""
        policy = self._learner.described()
        models = {"model": self._evidence.model, "encoder": self._evidence.version, "scorers": self._evidence.described()}
        finding = {"retriever": self._catalogue.described(), "draw": DRAW_SCHEME}
        self._parts = intake.canonical({**policy, **models, **self.arms.described(), **finding})

    def candidates(
        self,
        decision_id: str,
        request: Request,
        named: Sequence[str] | None,
        seen: Sequence[str],
        placing: Placing = ANY,
        asking: Asking = STRICT,
    ) -> Found:
        """Returns the candidates: those `named` or what the retriever finds, and those of `placing`.

        Raises:
            Moved: when the catalogue changes meanwhile.
        """
        user, shelf = self._evidence.user(request, asking), self._catalogue.shelf
        required = shelf.named(placing.required) if placing is not ANY else NONE
        try:
            found = functools.partial(self._found, shelf, decision_id, user, request, seen, asking)
            slots = found() if named is None else self._catalogue.chosen(named, shelf)
        except EmptyCandidates:
            if not len(required):
                raise
            slots = required[:0]
        slots = _joined(slots, required)
        if placing is not ANY and placing.welcome:
            welcome = shelf.named(placing.welcome)
            slots = _joined(slots, welcome[self._catalogue.may_show(welcome, request, seen, self._rules(named), shelf)])
        items, vectors = take(shelf.items, slots), shelf.vectors.take(slots, axis=0)  # in a third of the time of `[slots]`
        try:
            phi = self._evidence.phi(user, request, items, vectors, asking, (InvalidScores,))
        except InvalidScores as error:
            usable = self._evidence.usable(request, items, asking)
            if named is None and usable.any() and not usable.all() and not np.isin(required, slots[~usable]).any():
                self._leave_out(items.ids[~usable], error)
                slots, items, vectors = slots[usable], take(items, usable), vectors[usable]
            phi = self._evidence.phi(user, request, items, vectors, asking)
        self.notices.compare(self._evidence, request, items, vectors, phi, asking)
        return Found(slots, phi, shelf)

    def decide(
        self,
        decision_id: str,
        time: float,
        size: int,
        found: Found,
        payload: str,
        user: str | None = None,
        placing: Placing = ANY,
        asking: Asking = STRICT,
        num_before: int = 0,
    ) -> Ready:
        """Draws a slate of `size` from candidates, or takes the one that the application has chosen.

        `num_before` slates are drawn before this one, and not observed yet.
        """
        slots, phi, shelf = found
        context, rng = Context(frozen(phi), everything(len(slots)), frozen(slots)), self.rng(decision_id)
        with self._learner.lock:
            policy = Arm(POLICY, 1.0, *self._learner.deciding())
            parts, num_learned, num_recoveries = self._parts, self._learner.num_learned, self._learner.num_recoveries
            if placing.chosen:
                action = [slots.tolist().index(slot) for slot in shelf.named(placing.chosen)]
                decision, agreement = taken(policy, rng, context, np.array(action), asking)
                marks = Marks(arm=APPLICATION, agreement=agreement)
            else:
                arms, marks = self.arms.of(policy, user, self.rng, num_before)
                wanted = placing.places(slots, shelf.named) if placing is not ANY else Places()
                spare = self._spare(decision_id)
                decision, arm, promoted = draw(arms, rng, context, size, wanted, spare, asking)
                if marks.by or placing is not ANY or arm.name != marks.arm:
                    share, pinned = arm.share if marks.by else None, tuple(position for position, _ in placing.pinned)
                    marks = marks._replace(arm=arm.name, share=share, pinned=pinned, promoted=promoted)
        logs_all = self._choice.logs_all or size == len(slots)  # as many rows as candidates are the candidates, in their order
        logged = (phi if logs_all else phi[decision.action]).astype(np.float32)  # lossless: phi is float32 by construction
        record = DecisionRecord(
            decision_id,
            time,
            payload,
            parts,
            num_learned,
            slots.astype(np.int32),
            decision.action.astype(np.int32),
            decision.probs,
            logged,
            user,
            (marks._replace(failed=tuple(asking.failed)) if asking.failed else marks).dumps(),
        )
        return Ready(record, shelf, num_recoveries)

    def observe(self, ready: Ready, features: Features) -> None:
        """Counts a decision that is in the ledger: not before, so that the first ones of the folder are those of the burn-in."""
        self.notices.observe(features)
        if self.arms.num_drawn < self.arms.traffic.burn_in and is_draw(read(ready.record)):
            with self._counting:
                self.arms.num_drawn += 1

    def is_current(self, ready: Ready) -> bool:
        """Tells, to the thread that has its turn, whether a decision is of the catalogue as it is, and of a state that became durable."""
        return ready.shelf is self._catalogue.shelf and ready.num_recoveries == self._learner.num_recoveries

    def may_show(self, record: DecisionRecord, request: Request, asked: Mapping[str, Any], shelf: Shelf) -> bool:
        """Tells whether all items of a slate may still be shown; the rules do not apply to pinned items, nor to named candidates."""
        slots = record.slots[record.action]
        drawn = np.delete(slots, read(record).pinned)
        allowed = self._catalogue.may_show(drawn, request, asked["seen"], self._rules(asked["candidates"]), shelf)
        return bool(shelf.active[slots].all() and allowed.all())

    def slate(self, record: DecisionRecord) -> Slate:
        """Returns what a decision shows."""
        propensities = tuple([record.probs.item(position, index) for position, index in enumerate(record.action.tolist())])
        return Slate(record.decision_id, self.ids(record), propensities, read(record).repeats)

    def ids(self, record: DecisionRecord) -> tuple[str, ...]:
        """Returns the ids of the items that a decision shows, from the top."""
        ids, slots = self._catalogue.shelf.items.ids, record.slots
        return tuple([ids.item(slots.item(index)) for index in record.action.tolist()])  # of few, sooner than arrays of them

    def rng(self, decision_id: str, purpose: bytes = b"") -> np.random.Generator:
        """Makes the draw a function of the folder's secret and the decision's name: repeatable by us, not to be steered by a caller."""
        key = hashlib.blake2b(decision_id.encode(), key=self._salt, digest_size=16, person=purpose).digest()
        return stream(key)

    def _spare(self, decision_id: str, purpose: bytes = b"") -> Callable[[], np.random.Generator]:
        """Returns what makes the stream that is drawn from where a part fails, when it is first wanted; it is always the same one."""
        return Later(functools.partial(self.rng, decision_id, SPARE + purpose)).made

    def _found(self, shelf: Shelf, decision_id: str, user: np.ndarray, request: Request, seen: Sequence[str], asking: Asking) -> np.ndarray:
        """Returns the slots of the candidates: the nearest to the user or, of sampled items, those the policy finds most promising."""
        choice, spare = self._choice, self._spare(decision_id, b" candidates")
        later = Later(functools.partial(self.rng, decision_id, b"candidates"))

        def score(slots: np.ndarray) -> np.ndarray:
            try:
                phi = self._evidence.phi(user, request, take(shelf.items, slots), shelf.vectors[slots], asking, (InvalidScores,))
            except InvalidScores:  # of some item; what is drawn then is looked at one by one
                return later.made().random(len(slots))
            with self._learner.lock:
                policy, state = self._learner.deciding()

                def probs() -> np.ndarray:
                    answer = np.asarray(policy.probs(state, later.made(), Context(frozen(phi), frozen(slots >= 0), frozen(slots))))
                    if answer.shape != slots.shape or not np.isfinite(answer).all():
                        raise InvalidProbs(f"probs must be finite float64{list(slots.shape)}, got {answer.dtype}{list(answer.shape)}.")
                    return answer

                return asking(POLICY, policy, probs, lambda: spare().random(len(slots)))

        sizes = (choice.num_candidates, choice.num_new)
        limits: dict[str, Any] = {"seen": seen, "rules": choice.rules, "shelf": shelf, "spare": spare, "asking": asking}
        if self._catalogue.retriever.uses_vectors:
            rng: Any = later  # such a retriever seldom draws
            return self._catalogue.found(rng, user, request, *sizes, **limits)
        self.notices.outgrown(shelf.num_active, choice.num_scored)
        return self._catalogue.found(later.made(), user, request, *sizes, **limits, num_scored=choice.num_scored, score=score)

    def _rules(self, named: Sequence[str] | None) -> tuple[Rule, ...]:
        return self._choice.rules if named is None else ()

    def _leave_out(self, ids: np.ndarray, error: InvalidScores) -> None:
        with self._counting:
            self.num_left_out += len(ids)
            fresh = [item_id for item_id in ids.tolist() if item_id not in self._left_out]
            self._left_out.update(fresh)
        if fresh:
            text = f"The candidates {fresh} are left out of requests as long as their scores are unusable"
            warn(f"{text}: {error}", IgnoredInput)


def _joined(slots: np.ndarray, more: np.ndarray) -> np.ndarray:
    return np.concatenate([slots, more[~np.isin(more, slots)]]) if len(more) else slots
