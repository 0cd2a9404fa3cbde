"""The live loop: request, candidates, evidence, decision, reward, learning."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import secrets
import threading
import time
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, Literal, NamedTuple, ParamSpec, TypeVar

import numpy as np

from recsdk.base import Context, Encoder, Events, Items, Policy, Request, Retriever, Scorer, decide_slate
from recsdk.checks import folder_path, require_integer, require_number
from recsdk.data import concatenate_items, items_from_stored, rows_from_items, take
from recsdk.errors import (
    ChangedSetting,
    DecisionConflict,
    EmptyCandidates,
    IgnoredInput,
    InvalidReward,
    InvalidScores,
    InvalidValue,
    LedgerCorrupt,
    LedgerError,
    RecsdkError,
    RewardConflict,
    TooFewCandidates,
    UnknownDecision,
    UnknownItem,
    Untrained,
    nearest,
    one_of,
)
from recsdk.ledger import DecisionRecord, ItemRecord, Ledger, RewardRecord, SignalRecord
from recsdk.live import intake, made
from recsdk.live.catalogue import Catalogue, Contents, Rule
from recsdk.live.evidence import Evidence
from recsdk.live.guard import Features, frozen, only_reading
from recsdk.live.identity import identity
from recsdk.live.learner import Learner
from recsdk.live.made import digest
from recsdk.live.notices import Notices
from recsdk.live.observe import LOGGER, Decided, Notice, Observer, Recovered, Rewarded, Snapshotted
from recsdk.live.rewards import FEEDBACK, Feedback, Receipt, Settlement, stored_feedback
from recsdk.policies.wrappers import WithFloor

DRAW_SCHEME = "blake2b-philox-1"

SEVERAL = "To join several signals about one item, such as a click and a purchase, open a folder with feedback=recsdk.Feedback(window=...)."


class _Options(NamedTuple):
    rules: tuple[Rule, ...]
    num_candidates: int
    num_new: int
    num_scored: int
    logs_all: bool
    snapshot_every: int
    clock: Callable[[], float]
    observer: Observer | None


P = ParamSpec("P")
R = TypeVar("R")


class Slate(NamedTuple):
    """The items to show, from the top, and the id of the decision.

    Attributes:
        decision_id: to be given back with the reward.
        ids: L item ids, from the top.
        propensities: L probabilities, of each item at its position given those above it.

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


class _Key(np.random.bit_generator.ISeedSequence):
    """A key of Philox; given by name, NumPy would ask the system for randomness first, which takes four times as long."""

    def __init__(self, key: bytes) -> None:
        self.key = key

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray:
        del n_words, dtype  # two words of 64 bits, as Philox asks for
        return np.frombuffer(self.key, "<u8")


def _locked(method: Callable[Concatenate[Recommender, P], R]) -> Callable[Concatenate[Recommender, P], R]:
    @functools.wraps(method)
    def locked(self: Recommender, *args: P.args, **kwargs: P.kwargs) -> R:
        if os.getpid() != self._process:  # after a fork two processes would write to one connection, and wait for one lock
            raise LedgerError("This recommender was opened before a fork: open it afterwards, in the one process that is to use it.")
        with self._lock:
            if not self._open:
                raise LedgerError("This recommender is closed: open the folder again.")
            return method(self, *args, **kwargs)

    return locked  # type: ignore[return-value]  # functools.wraps forgets that the first argument is positional


class Recommender:
    """Recommends, learns from every reward at once, and keeps a ledger from which it recovers exactly.

    Made by `open`; threads may share it. What it has learned is a fold over the rewards in the ledger, so closing or killing the process
    and opening the folder again continues with the same state, to the last bit.

    Example:
        >>> import recsdk
        >>> with recsdk.Recommender.open("cafe", items=[{"id": "tea"}, {"id": "coffee"}]) as cafe:
        ...     shown = cafe.recommend({"guest": "ann"})
        ...     _ = cafe.reward(shown.decision_id, 1.0)
        >>> with recsdk.Recommender.open("cafe") as cafe:  # goes on where it stopped
        ...     cafe.num_learned
        1
    """

    def __init__(self, ledger: Ledger, learner: Learner, options: _Options) -> None:
        """Use `Recommender.open`."""
        self.policy = learner.policy
        self.catalogue = learner.catalogue
        self._ledger = ledger
        self._learner = learner
        self._evidence = learner.evidence
        self._options = options
        self._notices = Notices()
        self.num_left_out = 0
        self._left_out: set[str] = set()
        self._reward_range: tuple[float, float] | None = None
        self._settlement: Settlement | None = None
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._open = True
        self.num_observer_errors = 0

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        items: Items | Iterable[Mapping[str, Any]] = (),
        encoder: str | Encoder[Any] | None = None,
        scorers: Sequence[str | Scorer[Any] | Callable[..., Any]] = (),
        policy: str | Policy[Any] = "wide-deep",
        history: Events | Iterable[Mapping[str, Any]] = (),
        unknown_items: Literal["refuse", "skip"] = "refuse",
        reward_range: tuple[float, float] | None = None,
        feedback: Feedback | None = None,
        rules: Sequence[Rule] = (),
        retriever: str | Retriever[Any] | None = None,
        num_candidates: int = 100,
        num_new: int | None = None,
        num_scored: int = 1_000,
        floor: float = 0.05,
        log_features: Literal["shown", "all"] = "shown",
        snapshot_every: int = 10_000,
        ledger: Any = "sqlite",
        clock: Callable[[], float] = time.time,
        observer: Observer | None = None,
    ) -> Recommender:
        """Opens a recommender in a folder: makes it, or recovers it exactly where it stopped.

        Args:
            folder: where the ledger is.
            items: the catalogue, as rows with an "id" and features. When the folder is recovered, its own catalogue stands; of
                these, items it has never held are added.
            encoder: the deep model, by name or as a config; None for none. It is fitted to `history` once. Another one in a living folder
                needs a `history` too; then all is encoded again.
            scorers: evidence about candidates, by name, as configs or as plain functions. They may change in a living folder: a new column
                starts with weight 0.
            policy: by name or as a config; default `wide-deep`. Another policy than last time learns from the whole ledger first.
            history: what happened before, as rows with "item", "time", "reward" and request features. Models that are new in the folder are
                fitted to it.
            unknown_items: "skip" leaves out events of `history` about items that are not in `items`, and warns with their number.
            reward_range: the least and the largest reward, such as (0, 1); a reward outside of it is refused, since one outlier can spoil
                what a policy has learned. It is kept in the folder; None takes the folder's, which at first has none.
            feedback: how signals, such as clicks and purchases, become rewards when the window of a decision closes; see `signal`. None
                for an application that gives each reward itself, by `reward`. It is kept in the folder as `reward_range` is, with which it
                does not go: it has a `cap`.
            rules: business rules, `(request, items) -> bool[N]`.
            retriever: finds the candidates in the catalogue, by name or as a config; None for "exact" with an encoder, which takes those
                nearest to the user, and "sampled" without.
            num_candidates: how many candidates the catalogue offers to the policy: the items nearest to the user or, of sampled ones,
                those that the policy gives most probability; of equal ones, a random choice, so that every item gets its chance.
            num_new: how many of them are the newest items; None for a tenth.
            num_scored: without an encoder, how many items are scored at most to find the candidates. If there are more, so many are drawn
                for each request, and a warning says so.
            floor: share of uniform exploration, see `WithFloor`; 0 leaves the policy as it is, and then the log may be unfit
                for evaluating others.
            log_features: "all" keeps the features of every candidate, which evaluating other policies needs; "shown" those of
                the shown ones, which learning needs. Policies that learn from "all" always keep all.
            snapshot_every: rewards between snapshots; recovery folds at most so many.
            ledger: by name or as a config.
            clock: seconds since the epoch.
            observer: a function that is told of every decision, reward, snapshot and recovery, see `recsdk.live.observe`.

        Raises:
            PluginError, UnknownPlugin: a part that cannot be had.
            LedgerLocked: another recommender has the folder open.
            LedgerMismatch: the folder has another encoder and no `history` is given, or is of a newer recsdk.
            InvalidValue: an argument out of its range, an item or an event that cannot be read.

        Warns:
            ChangedSetting: another `reward_range` or `feedback` than before, which holds from now on.
            IgnoredInput: a `history` that nothing is fitted to, since the models were fitted to another one; or events that were skipped.
            Untrained: an encoder that is given no `history` when the folder is made.
        """
        path, allowed = folder_path(folder), intake.reward_range(reward_range)
        require_integer("num_candidates", num_candidates, at_least=1)
        num_new = num_candidates // 10 if num_new is None else num_new
        require_integer("num_new", num_new, at_least=0)
        require_integer("num_scored", num_scored, at_least=1)
        require_integer("snapshot_every", snapshot_every, at_least=1)
        require_number("floor", floor, at_least=0, at_most=1)
        if num_new >= num_candidates:
            raise InvalidValue(f"num_new must be below num_candidates = {num_candidates}, got {num_new}.")
        one_of("log_features", log_features, ("shown", "all"))
        chosen = intake.policy(policy)
        evidence = Evidence(None if encoder is None else intake.part("encoders", encoder), intake.scorers(scorers))
        finding = None if retriever is None else intake.retriever(retriever, evidence.dim)
        logs_all = log_features == "all" or chosen.learns_from == "all"
        sizes = (num_candidates, num_new, num_scored)
        options = _Options(intake.rules(rules), *sizes, logs_all, snapshot_every, intake.clock(clock), intake.observer(observer))
        store = intake.part("ledgers", ledger).open(path)
        wrapped = WithFloor(policy=chosen, floor=floor) if floor else chosen
        self = cls(store, Learner(wrapped, evidence, Catalogue(evidence.dim, finding), store), options)
        try:
            self._start(items, history, unknown_items, allowed)
            self._take_feedback(feedback)
        except BaseException:
            self._release()
            raise
        return self

    @_locked
    def recommend(
        self,
        request: Mapping[str, Any],
        *,
        size: int = 1,
        at_most: bool = False,
        candidates: Sequence[str] | None = None,
        seen: Iterable[str] = (),
        user: str | None = None,
        decision_id: str | None = None,
    ) -> Slate:
        """Chooses what to show. The decision is in the ledger, durable, when this returns.

        Args:
            request: features of the user and the circumstances.
            size: L, how many items to show.
            at_most: shows fewer where fewer candidates are left, for users who have seen nearly everything. Where none is left, the slate
                is empty, and no decision is in the ledger.
            candidates: the item ids to choose from, to which the rules do not apply; None lets the catalogue find them, under the rules.
            seen: item ids not to show; goes with `candidates=None` only.
            user: the user's key, which the ledger keeps with the decision; None takes the request's "user_id", where there is one.
            decision_id: a name for this decision, at most 128 bytes. The same name with the same request gives the same answer, so a
                call can be repeated; None makes one up.

        Raises:
            InvalidRequest: a feature that is not a str, a finite number, a bool, a list of str or None; ids that are none.
            InvalidValue: a size that is no whole number >= 1; candidates and seen at once.
            EmptyCandidates, TooFewCandidates, DuplicateCandidates, UnknownItem: candidates that cannot fill the slate.
            DecisionConflict: a `decision_id` used before with another request.
            InvalidAnswer: a plugin that breaks its contract; InvalidScores and InvalidProbs are of this kind.

        Warns:
            IgnoredInput: once, request features that no part reads or that change nothing, or candidates without usable scores.
        """
        began = time.perf_counter()
        require_integer("size", size, at_least=1)
        one_of("at_most", at_most, (False, True))
        self._notices.warn(stacklevel=4)
        named, hidden = None if candidates is None else intake.candidates(candidates), sorted(set(intake.ids("seen", seen)))
        if named is not None and hidden:
            raise InvalidValue(f"seen goes with candidates=None only: leave seen items out of candidates, got seen = {hidden}.")
        plain = intake.request(request)
        key = intake.user(user, plain)
        asked: dict[str, Any] = {
            "request": plain,
            "size": int(size),
            "candidates": named,
            "seen": hidden,
            **({"at_most": True} if at_most else {}),
        }
        if user is not None:
            asked["user"] = user
        if decision_id is None:
            decision_id = secrets.token_hex(16)
        else:
            known = self._ledger.decision(intake.name("decision_id", decision_id))
            if known is not None:
                return self._repeated(known, asked)
        payload = intake.canonical(asked)
        features = Features(plain)
        asked_now = Request(features, self._now())
        self._settle(asked_now.time)
        try:
            slots, phi = self._candidates(decision_id, asked_now, named, hidden)
        except EmptyCandidates:
            if at_most:
                return Slate(decision_id, (), ())
            raise
        shown = min(int(size), len(slots)) if at_most else int(size)
        if shown > len(slots):
            raise TooFewCandidates(f"size must be in [1, {len(slots)}], the number of candidates, got {size}; at_most=True shows fewer.")
        record = self._decide(decision_id, asked_now.time, shown, slots, phi, payload)._replace(user=key)
        self._ledger.add_decision(record)
        if self._settlement is not None:
            self._settlement.opened(record)
        self._notices.observe(features)
        self._tell(Decided(decision_id, key, len(slots), shown, time.perf_counter() - began))
        return self._slate(record)

    def _repeated(self, known: DecisionRecord, asked: Mapping[str, Any]) -> Slate:
        before = json.loads(known.payload)
        fields = dict.fromkeys((*asked, *before))
        different = [field for field in fields if before.get(field) != asked.get(field)]  # not of the text: 1 is 1.0
        if different:
            raise DecisionConflict(
                f"decision_id {known.decision_id!r} was used before with another {' and '.join(different)}: give each decision its own."
            )
        return self._slate(known)

    def _candidates(
        self, decision_id: str, request: Request, candidates: Sequence[str] | None, seen: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns i64[K], the slots of the candidates, and f64[K, D], their phi."""
        user = self._evidence.user(request)
        if candidates is None:
            slots = self._found(self._rng(decision_id, b"candidates"), user, request, seen)
        else:
            slots = self.catalogue.chosen(candidates)
        items, vectors = take(self.catalogue.items, slots), self.catalogue.vectors[slots]
        try:
            phi = self._evidence.phi(user, request, items, vectors)
        except InvalidScores as error:
            usable = self._evidence.usable(request, items)
            if candidates is not None or usable.all() or not usable.any():
                raise
            self._leave_out(items.ids[~usable], error)
            slots, items, vectors = slots[usable], take(items, usable), vectors[usable]
            phi = self._evidence.phi(user, request, items, vectors)
        self._notices.compare(self._evidence, request, items, vectors, phi)
        return slots, phi

    def _found(self, rng: np.random.Generator, user: np.ndarray, request: Request, seen: Sequence[str]) -> np.ndarray:
        """Returns the slots of the candidates: the nearest to the user or, of sampled items, those the policy finds most promising."""
        options = self._options

        def score(slots: np.ndarray) -> np.ndarray:
            try:
                phi = self._evidence.phi(user, request, take(self.catalogue.items, slots), self.catalogue.vectors[slots])
            except InvalidScores:  # of some item; what is drawn then is looked at one by one
                return rng.random(len(slots))
            with only_reading(self.policy):
                return np.asarray(self.policy.probs(self._learner.state, rng, Context(frozen(phi), frozen(slots >= 0), frozen(slots))))

        if self.catalogue.retriever.uses_vectors:
            return self.catalogue.found(rng, user, request, options.num_candidates, options.num_new, seen=seen, rules=options.rules)
        self._notices.outgrown(len(self.catalogue), options.num_scored)
        sizes = (options.num_candidates, options.num_new)
        return self.catalogue.found(rng, user, request, *sizes, seen=seen, rules=options.rules, num_scored=options.num_scored, score=score)

    def _leave_out(self, ids: np.ndarray, error: InvalidScores) -> None:
        self.num_left_out += len(ids)
        fresh = [item_id for item_id in ids.tolist() if item_id not in self._left_out]
        self._left_out.update(fresh)
        if fresh:
            text = f"The candidates {fresh} are left out of requests as long as their scores are unusable"
            warnings.warn(f"{text}: {error}", IgnoredInput, stacklevel=5)

    def _decide(self, decision_id: str, time: float, size: int, slots: np.ndarray, phi: np.ndarray, payload: str) -> DecisionRecord:
        context = Context(frozen(phi), frozen(np.ones(len(slots), bool)), frozen(slots))
        with only_reading(self.policy):
            decision = decide_slate(self.policy, self._learner.state, self._rng(decision_id), context, size)
        logs_all = self._options.logs_all or size == len(slots)  # as many rows as candidates are the candidates, in their order
        logged = (phi if logs_all else phi[decision.action]).astype(np.float32)  # lossless: phi is float32 by construction
        return DecisionRecord(
            decision_id,
            time,
            payload,
            self._parts,
            self._learner.num_learned,
            slots.astype(np.int32),
            decision.action.astype(np.int32),
            decision.probs,
            logged,
        )

    @_locked
    def reward(self, decision_id: str, value: float, *, item: str | None = None, reward_id: str | None = None) -> bool:
        """Takes the reward of one shown item; it is durable, and learned, when this returns.

        Args:
            decision_id: from `recommend`.
            value: finite.
            item: which of the shown items; may be left out when one was shown.
            reward_id: a name for this reward, so that a repeated call counts once; by default one per decision and item.

        Returns:
            False when this reward had been taken before, which changes nothing.

        Raises:
            UnknownDecision, UnknownItem: no such decision, or one that did not show this item.
            InvalidReward: not a finite number, outside of the folder's `reward_range`, or refused by the policy.
            RewardConflict: a `reward_id` used before for something else, or a second reward for one shown item.
        """
        self._refuse_with_feedback()
        intake.reward(value, self._reward_range)
        record = self._known(decision_id)
        position = 0 if item is None and len(record.action) == 1 else self._position(record, item)
        return self._take(record, [(position, value, reward_id)])

    @_locked
    def reward_slate(self, decision_id: str, values: Mapping[str, float], *, others: float = 0.0) -> bool:
        """Takes the rewards of a whole slate at once, all or none.

        Args:
            decision_id: from `recommend`.
            values: reward by item id, of the items that got one.
            others: the reward of the shown items that are not in `values`: what it is worth that nothing happened.

        Returns:
            False when all these rewards had been taken before.

        Raises:
            UnknownDecision, UnknownItem, InvalidReward, RewardConflict: as `reward`.
        """
        self._refuse_with_feedback()
        if not isinstance(values, Mapping):
            raise InvalidReward(f"values must be a mapping of rewards by item id, got {values!r:.200}.")
        for value in (*values.values(), others):
            intake.reward(value, self._reward_range)
        record = self._known(decision_id)
        by_position = {self._position(record, item): value for item, value in values.items()}
        rewards = [(position, by_position.get(position, others), None) for position in range(len(record.action))]
        return self._take(record, rewards)

    @_locked
    def signal(
        self,
        name: str,
        *,
        decision_id: str | None = None,
        user: str | int | None = None,
        item: str | None = None,
        value: float = 1.0,
        signal_id: str | None = None,
    ) -> Receipt:
        """Takes something that happened to a shown item; it is durable when this returns, and learned when the window closes.

        The recommender must have a `feedback`. What came too late, or twice, or fits no decision, is told and not an error, since the
        caller can do nothing about it.

        Args:
            name: which kind of signal, one of the names of `Feedback.signals`.
            decision_id: the decision that it is about, or
            user: whose newest decision it is about, of those that showed `item` and are open. Give one of the two.
            item: which of the shown items; may be left out with a `decision_id` that showed one.
            value: what it is worth before the weight of its name.
            signal_id: a name for this signal, so that a repeated call counts once; by default one per decision, item and name.

        Raises:
            InvalidValue: no feedback; an unknown name; `decision_id` and `user` at once, or neither.
            InvalidReward: a value that is not a finite number, or whose worth is beyond 1e15.
            UnknownItem: the decision did not show this item.
            RewardConflict: a `signal_id` used before for something else.

        Example:
            >>> feedback = Feedback(window=600, signals={"click": 1, "purchase": 5})
            >>> with Recommender.open("shop", items=[{"id": "apple"}], feedback=feedback) as shop:
            ...     shown = shop.recommend({"user_id": "ann"})
            ...     shop.signal("click", decision_id=shown.decision_id)
            <Receipt.TAKEN: 'taken'>
        """
        settlement = self._settlement
        if settlement is None:
            raise InvalidValue("signal needs a recommender with a feedback: open it with feedback=recsdk.Feedback(window=...).")
        settlement.feedback.worth(name, value)
        if (decision_id is None) == (user is None):
            raise InvalidValue(f"signal must have a decision_id or a user, and not both, got {decision_id!r} and {user!r}.")
        now = self._now()
        self._settle(now)
        if user is not None:
            record = self._shown_to(intake.user(user, {}), item, now)
        else:
            record = self._ledger.decision(str(decision_id)) if intake.is_name(decision_id) else None
        if record is None:
            return Receipt.UNKNOWN
        position = 0 if item is None and len(record.action) == 1 else self._position(record, item)
        given_id = f"{record.decision_id}/{position}/{name}" if signal_id is None else intake.name("signal_id", signal_id)
        return settlement.take(SignalRecord(given_id, record.decision_id, position, name, float(value) + 0.0, now), record)

    def _shown_to(self, user: Any, item: Any, now: float) -> DecisionRecord | None:
        """Returns the newest decision of a user that is open and showed an item."""
        assert self._settlement is not None  # noqa: S101 -- `signal` has refused
        for record in self._ledger.decisions_of(user):
            if now > record.time + self._settlement.feedback.window:
                return None
            if item in self._slate(record).ids:
                return record
        return None

    @_locked
    def settle(self) -> int:
        """Closes every window that has ended, and learns; `recommend` and `signal` do so too, so only an idle shop needs it.

        Returns:
            How many rewards were learned.
        """
        learned = self._learner.num_learned
        self._settle(self._now())
        return self._learner.num_learned - learned

    def _settle(self, now: float) -> None:
        if self._settlement is not None and self._settlement.is_due(now):
            with self._learning():
                settled = list(self._settlement.settle(now))
                for decision, reward in settled:
                    self._learner.learn(decision, reward)
            for decision, reward in settled:
                self._tell(Rewarded(decision.decision_id, 1, reward.value))

    def _refuse_with_feedback(self) -> None:
        if self._settlement is not None:
            raise InvalidValue("This folder has a feedback, which makes the rewards: tell what happened by `signal`.")

    @_locked
    def add_items(self, rows: Items | Iterable[Mapping[str, Any]]) -> None:
        """Adds items to the catalogue, recommendable from the next request on; durable when this returns.

        Raises:
            InvalidRequest, DuplicateCandidates: a row that is no item, or an item that is there. Nothing is added then.
        """
        items = self._placed(intake.items(rows, self._now()))
        with self._ledger.transaction():
            contents = self._keep(items, self._evidence.vectors(items), active=True)
        self.catalogue.hold(contents)

    @_locked
    def remove_items(self, ids: Iterable[str]) -> None:
        """Takes items out of the catalogue; decisions that showed them can still be rewarded. Durable when this returns.

        Raises:
            UnknownItem, DuplicateCandidates: an item that is not there, or twice. Nothing is removed then.
        """
        slots = self.catalogue.slots(intake.ids("ids", ids))
        with self._ledger.transaction():
            contents = self._keep(take(self.catalogue.items, slots), self.catalogue.vectors[slots], active=False)
        self.catalogue.hold(contents)

    @_locked
    def snapshot(self) -> None:
        """Writes what has been learned, atomically, so that recovery folds only what comes after."""
        began = time.perf_counter()
        self._learner.snapshot()
        self._tell(Snapshotted(self.num_learned, time.perf_counter() - began))

    @_locked
    def audit(self) -> bool:
        """Folds the whole ledger from the start, and tells whether that gives the present state to the last bit.

        Raises:
            InvalidValue: for a native policy or scorer, which does not write the same state in the same bytes.
        """
        return self._learner.audit()

    def close(self) -> None:
        """Writes a snapshot and releases the folder. Closing twice is no error."""
        if os.getpid() != self._process:
            return  # a forked copy: the folder is not its to release
        with self._lock:
            if self._open:
                try:
                    self.snapshot()
                finally:
                    self._release()

    def __enter__(self) -> Recommender:
        """Returns the recommender itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: types.TracebackType | None) -> None:
        """Closes it."""
        self.close()

    @property
    def num_learned(self) -> int:
        """How many rewards the state has been folded over."""
        return self._learner.num_learned

    def _start(self, items: Any, history: Any, unknown_items: Any, reward_range: tuple[float, float] | None) -> None:
        now = self._now()
        given = intake.items(items, now)
        found = made.read(self._ledger, self._evidence.scorers)
        if found is None:
            self._make(self._placed(given), history, unknown_items, reward_range, now)
        else:
            given = self._renew(found, given, history, unknown_items, now)
        salt = self._ledger.get("salt")
        if salt is None:
            raise LedgerCorrupt("The ledger has lost its 'salt', without which its decisions cannot be repeated.")
        self._salt = salt
        self._parts = intake.canonical(
            {
                "policy": identity(self.policy),
                "encoder": self._evidence.version,
                "scorers": self._evidence.described(),
                "draw": DRAW_SCHEME,
            }
        )
        self._recover()
        self._settle_reward_range(reward_range)
        if found is not None and len(given.ids):
            self.add_items(given)

    def _make(self, items: Items, history: Any, unknown_items: Any, reward_range: tuple[float, float] | None, now: float) -> None:
        """Fits the models and keeps them with the items, all or nothing: a folder is made or it is not."""
        events = intake.events(items, history, now, unknown_items)
        for value in np.unique(events.reward).tolist():
            intake.reward(value, reward_range)
        if self._evidence.encoder is not None and not len(events.item):
            text = f"The encoder {self._evidence.encoder!r} was fitted to nothing, and its score begins with weight 0 in the policy"
            warnings.warn(f"{text}: make the folder with history=, or leave the encoder out.", Untrained, stacklevel=4)
        with self._ledger.transaction():
            known = self._evidence.settle(None, lambda: events, self._ledger)
            self._ledger.put("salt", secrets.token_bytes(32))
            made.write(self._ledger, known)
            self.catalogue.hold(self._keep(items, self._evidence.vectors(items), active=True))

    def _renew(self, found: made.Made, given: Items, history: Any, unknown_items: Any, now: float) -> Items:
        """Reads the catalogue and the models, and fits what is new in the folder; returns those of the given items that are new in it."""
        records = list(self._ledger.items())
        items = items_from_stored(json.loads(record.row) for record in records)
        held = set(items.ids.tolist())
        fresh = take(given, np.array([item_id not in held for item_id in given.ids.tolist()], bool))

        @functools.cache
        def events() -> Events:
            slots = np.arange(len(items.ids), len(items.ids) + len(fresh.ids))
            return intake.events(concatenate_items(items, fresh._replace(slot=slots)), history, now, unknown_items)

        with self._ledger.transaction():
            known = self._evidence.settle(found, events, self._ledger)
            active = np.array([record.active for record in records], bool)
            if found.vectors != known.vectors:
                for slot, vector in enumerate(self._evidence.vectors(items)):
                    self._ledger.put_item(records[slot]._replace(vector=vector))
                    records[slot] = records[slot]._replace(vector=vector)
            made.write(self._ledger, known)
        if records:
            self.catalogue.hold(self.catalogue.joined(items, np.stack([record.vector for record in records]), active))
        if (not isinstance(history, Sequence) or len(history)) and digest(events()) not in (*known.history, ""):
            text = "history is ignored: the models of this folder were fitted to another one, and are not fitted again"
            warnings.warn(f"{text}. Leave it out, or make a new folder.", IgnoredInput, stacklevel=4)
        return fresh

    def _settle_reward_range(self, given: tuple[float, float] | None) -> None:
        """Takes the folder's range of rewards, or keeps another in its place."""
        kept = json.loads(self._ledger.get("reward_range") or "null")
        self._reward_range = given or (None if kept is None else (kept[0], kept[1]))
        if given is not None and kept != list(given):
            if kept is not None:
                text = f"reward_range was {tuple(kept)} in this folder, and is {given} from now on"
                warnings.warn(f"{text}; what was learned before stays.", ChangedSetting, stacklevel=4)
            self._ledger.put("reward_range", json.dumps(given).encode())

    def _take_feedback(self, given: Feedback | None) -> None:
        """Takes the folder's feedback, or keeps another in its place."""
        if given is not None and not isinstance(given, Feedback):
            raise InvalidValue(f"feedback must be a recsdk.Feedback, got {given!r}.")
        kept = stored_feedback(self._ledger)
        feedback = given or kept
        if feedback is None:
            return
        if self._reward_range is not None:
            raise InvalidValue(f"reward_range goes with rewards, not with a feedback, which has a cap: got {self._reward_range}.")
        if feedback != kept:
            if kept is not None:
                text = f"feedback was {kept} in this folder, and is {feedback} from now on, also for the decisions that are open"
                warnings.warn(f"{text}.", ChangedSetting, stacklevel=3)
            self._ledger.put(FEEDBACK, feedback.dumps())
        self._settlement = Settlement(feedback, self._ledger)

    def _placed(self, items: Items) -> Items:
        """Returns items in their slots, as they will be when they are read back from the ledger."""
        return self.catalogue.place(items_from_stored(json.loads(intake.canonical(rows_from_items(items)))))

    def _keep(self, items: Items, vectors: np.ndarray, *, active: bool) -> Contents:
        contents = self.catalogue.joined(items, vectors, np.full(len(items.ids), active))
        for slot, row, vector in zip(items.slot.tolist(), rows_from_items(items), vectors, strict=True):
            self._ledger.put_item(ItemRecord(slot, intake.canonical(row), vector, active))
        return contents

    def _now(self) -> float:
        seconds = intake.seconds(self._options.clock())
        return seconds if self._settlement is None else self._settlement.now(seconds)

    def _known(self, decision_id: str) -> DecisionRecord:
        record = self._ledger.decision(decision_id) if intake.is_name(decision_id) else None
        if record is None:
            raise UnknownDecision(f"No decision {decision_id!r:.200} is in the ledger: give the decision_id that recommend returned.")
        return record

    def _position(self, record: DecisionRecord, item: Any) -> int:
        ids = self._slate(record).ids
        if not isinstance(item, str) or item not in ids:
            raise UnknownItem(
                f"item must be one of {ids}, shown in decision {record.decision_id!r}, got {item!r}.{nearest(str(item), ids)}"
            )
        return ids.index(item)

    def _take(self, record: DecisionRecord, rewards: Sequence[tuple[int, float, str | None]]) -> bool:
        now, fresh = self._now(), []
        for position, value, reward_id in rewards:
            name = f"{record.decision_id}/{position}" if reward_id is None else intake.name("reward_id", reward_id)
            reward = RewardRecord(name, record.decision_id, position, float(value) + 0.0, now)  # a ledger need not tell -0.0 from 0.0
            if self._is_new(reward):
                fresh.append(reward)
        with self._learning():
            for reward in fresh:
                self._ledger.add_reward(reward)
                self._learner.learn(record, reward)
        self._tell(Rewarded(record.decision_id, len(fresh), sum(reward.value for reward in fresh)))
        return bool(fresh)

    @contextlib.contextmanager
    def _learning(self) -> Iterator[None]:
        """Writes and learns all or nothing, and then a snapshot when one is due."""
        learned = self._learner.num_learned
        try:
            with self._ledger.transaction():
                yield
        except BaseException as error:
            # A policy that refuses the first reward has changed nothing. After anything else the state may have run ahead of the ledger.
            if not (isinstance(error, RecsdkError) and self._learner.num_learned == learned):
                self._recover_or_release()
            if self._settlement is not None and self._open:
                self._settlement = Settlement(self._settlement.feedback, self._ledger)
            raise
        if self._learner.num_learned // self._options.snapshot_every > learned // self._options.snapshot_every:
            self.snapshot()

    def _recover_or_release(self) -> None:
        try:
            self._recover()
        except BaseException:
            self._release()
            raise

    def _recover(self) -> None:
        began = time.perf_counter()
        self._learner.recover()
        self._tell(Recovered(self.num_learned, time.perf_counter() - began))

    def _tell(self, notice: Notice) -> None:
        if self._options.observer is None:
            return
        try:
            self._options.observer(notice)
        except Exception:  # who looks on must not stop the loop
            self.num_observer_errors += 1
            LOGGER.exception("The observer %r failed at %r.", self._options.observer, notice)

    def _is_new(self, reward: RewardRecord) -> bool:
        same = self._ledger.reward(reward.reward_id)
        if same is not None:
            if same._replace(time=reward.time) == reward:
                return False
            raise RewardConflict(f"reward_id {reward.reward_id!r} was used before for {_told(same)}, got {_told(reward)}. {SEVERAL}")
        for other in self._ledger.rewards_of(reward.decision_id):
            if other.position == reward.position:
                raise RewardConflict(
                    f"One shown item has one reward, {_told(other)} by reward_id {other.reward_id!r}, got {_told(reward)} too. {SEVERAL}"
                )
        return True

    def _slate(self, record: DecisionRecord) -> Slate:
        positions = np.arange(len(record.action))
        ids = self.catalogue.items.ids[record.slots[record.action]]
        return Slate(record.decision_id, tuple(ids.tolist()), tuple(record.probs[positions, record.action].tolist()))

    def _rng(self, decision_id: str, purpose: bytes = b"") -> np.random.Generator:
        """Makes the draw a function of the folder's secret and the decision's name: repeatable by us, not to be steered by a caller."""
        key = hashlib.blake2b(decision_id.encode(), key=self._salt, digest_size=16, person=purpose).digest()
        return np.random.Generator(np.random.Philox(_Key(key)))  # type: ignore[arg-type]  # its stub forgets `ISeedSequence`

    def _release(self) -> None:
        self._open = False
        try:
            self._learner.close()
            self._evidence.close()
        finally:
            self._ledger.close()


def _told(reward: RewardRecord) -> str:
    return f"{reward.value} at position {reward.position} of decision {reward.decision_id!r}"
