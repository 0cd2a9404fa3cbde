"""The live loop: request, candidates, evidence, decision, reward, learning."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import threading
import time
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, Literal, NamedTuple, ParamSpec, TypeVar

import numpy as np

from recsdk.base import Encoder, Events, Items, Policy, Request, Retriever, Scorer
from recsdk.checks import require_integer, require_number
from recsdk.data import take
from recsdk.errors import (
    DecisionConflict,
    EmptyCandidates,
    InvalidRequest,
    InvalidReward,
    InvalidValue,
    LedgerError,
    TooFewCandidates,
    one_of,
)
from recsdk.ledger import DecisionRecord, Durable, Ledger, RewardRecord
from recsdk.ledger.stores import folder_path
from recsdk.live import forgetting, functions, intake, models, opening, places, published, sticky
from recsdk.live.catalogue import Catalogue, Moved, Rule
from recsdk.live.contest import Change, Contest
from recsdk.live.deciding import Choice, Decider, Ready, Slate
from recsdk.live.evidence import Evidence
from recsdk.live.forgetting import Forgotten
from recsdk.live.guard import Features
from recsdk.live.learner import Learner
from recsdk.live.observe import LOGGER, Corrected, Decided, Notice, Observer, Recovered, Rewarded, Signalled, Snapshotted
from recsdk.live.opening import Given, Terms
from recsdk.live.placing import Placing, checked
from recsdk.live.published import Published
from recsdk.live.rewards import NOT_SHOWN, SHOWN, Feedback, Receipt
from recsdk.live.settlement import Settlement, Told, said
from recsdk.live.traffic import Arms, Traffic
from recsdk.live.trials import Standing, Trials
from recsdk.live.turns import Turns
from recsdk.policies.wrappers import WithFloor


class _Options(NamedTuple):
    store: Any
    folder: Path
    choice: Choice
    snapshot_every: int
    clock: Callable[[], float]
    observer: Observer | None


P = ParamSpec("P")
R = TypeVar("R")


CLOSED = "This recommender is closed: open the folder again."
NUM_TRIES = 3
"""How often a decision is made anew since the catalogue changed meanwhile, before it is made while the catalogue cannot change."""


class _Asked(NamedTuple):
    """What `recommend` was asked for, checked.

    Attributes:
        decision_id: given, or made up.
        num_works: of the ledger when it was not known there; None where it is made up, and known to nobody.
        fields: the arguments by name.
        payload: the same in canonical JSON, as the ledger keeps them.
        features: the request's.
        time: of the request.
        user: the user's key.
        placing: what the application wants where.
    """

    decision_id: str
    num_works: int | None
    fields: dict[str, Any]
    payload: str
    features: Features
    time: float
    user: str | None
    placing: Placing


class _Given(NamedTuple):
    """A reward as the application gave it."""

    place: int
    value: float
    reward_id: str | None


class _Answer(NamedTuple):
    """An answer to `recommend`.

    Attributes:
        slate: what to show.
        ready: the decision that was made for it; None where there is none, one was there before, or a slate was served again.
        joined: signals that had waited for it, and what became of them.
    """

    slate: Slate
    ready: Ready | None = None
    joined: Sequence[tuple[Told, Receipt]] = ()


def _going(method: Callable[Concatenate[Recommender, P], R]) -> Callable[Concatenate[Recommender, P], R]:
    """Refuses calls of a recommender that is closed, or that was opened before a fork."""

    @functools.wraps(method)
    def going(self: Recommender, *args: P.args, **kwargs: P.kwargs) -> R:
        if os.getpid() != self._process:  # after a fork two processes would write to one connection, and wait for one lock
            raise LedgerError("This recommender was opened before a fork: open it afterwards, in the one process that is to use it.")
        if not self._open:
            raise LedgerError(CLOSED)
        return method(self, *args, **kwargs)

    return going  # type: ignore[return-value]  # functools.wraps forgets that the first argument is positional


class Recommender:
    """Recommends, learns from every reward at once, and keeps a ledger from which it recovers exactly.

    Made by `open`; threads may share it. What it has learned is a fold over the rewards in the ledger, so closing or killing the process
    and opening the folder again continues with the same state, to the last bit.

    Threads work side by side in encoders and scorers, on a catalogue and models that do not change under them; in the policy, whose state
    may change in place, one at a time; and one at a time writes, for all that wait, in one transaction. Encoders and scorers that are
    native, and scorers that learn online, are asked by one thread at a time.

    Example:
        >>> import recsdk
        >>> with recsdk.Recommender.open("cafe", items=[{"id": "tea"}, {"id": "coffee"}]) as cafe:
        ...     shown = cafe.recommend({"guest": "ann"})
        ...     _ = cafe.reward(shown.decision_id, 1.0)
        >>> with recsdk.Recommender.open("cafe") as cafe:  # goes on where it stopped
        ...     cafe.num_learned
        1
    """

    def __init__(self, ledger: Ledger, learner: Learner, decider: Decider, options: _Options) -> None:
        """Use `Recommender.open`."""
        self.catalogue = learner.catalogue
        self._ledger = ledger
        self._learner = learner
        self._evidence = learner.evidence
        self._decider = decider
        self._options = options
        self._reward_range: tuple[float, float] | None = None
        self._settlement: Settlement | None = None
        self._turns = Turns(ledger, learner, self._mend)
        self._changing_items = threading.Lock()
        self._telling = threading.RLock()
        self._ticking = threading.Lock()
        self._process = os.getpid()
        self._open = True
        self._swapping = threading.Lock()
        self._before: models.Model | None = None  # the model before the last swap, which goes on learning
        self._retired: models.Model | None = None  # the model that was rolled back
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
        traffic: Traffic | None = None,
        log_features: Literal["shown", "all"] = "shown",
        snapshot_every: int = 10_000,
        trials: Trials | None = None,
        ledger: Any = "sqlite",
        clock: Callable[[], float] = time.time,
        observer: Observer | None = None,
    ) -> Recommender:
        """Opens a recommender in a folder: makes it, or recovers it exactly where it stopped.

        Most applications set `items`, `scorers` or an `encoder` with its `history`, and `reward_range` or `feedback`. The folder keeps its
        items, fitted models, range and feedback; what it does not keep is given on every opening.

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
            traffic: sticky slates, burn-in and holdout, see `Traffic`; None for none of them.
            log_features: "all" keeps the features of every candidate, which evaluating other policies needs; "shown" those of
                the shown ones, which learning needs. Policies that learn from "all" always keep all.
            snapshot_every: rewards between snapshots; recovery folds at most so many.
            trials: challengers of the policy, see `Trials`; they need a declared range of rewards, and keep the features of all candidates.
                A challenger that was promoted goes on deciding, also after an opening, as long as it is among them.
            ledger: by name or as a config.
            clock: seconds since the epoch.
            observer: a function that is told of every decision, reward, snapshot and recovery, see `recsdk.live.observe`.

        Raises:
            PluginError, UnknownPlugin: a part that cannot be had.
            LedgerLocked: another recommender has the folder open.
            LedgerMismatch: the folder has another encoder and no `history` is given, or is of a newer recsdk.
            InvalidValue: an argument out of its range, an item or an event that cannot be read.

        Warns:
            ChangedSetting: another `reward_range` or `feedback` than before, that holds from now on; a rewritten scoring function; a
                promoted challenger that is not given any more.
            IgnoredInput: a `history` that nothing is fitted to, since the models were fitted to another one; or events that were skipped.
            Untrained: an encoder that is given no `history` when the folder is made.

        Example:
            >>> teas = [{"id": "sencha", "price": 4.0}, {"id": "assam", "price": 3.0}]
            >>> sales = [{"item": "assam", "time": 1_700_000_000.0}, {"item": "sencha", "time": 1_700_000_060.0}]
            >>> with Recommender.open("teas", items=teas, scorers=["popularity"], history=sales, reward_range=(0, 1)) as shop:
            ...     len(shop.catalogue)
            2
        """
        path, terms = folder_path(folder), Terms(intake.reward_range(reward_range), feedback)
        require_integer("snapshot_every", snapshot_every, at_least=1)
        require_number("floor", floor, at_least=0, at_most=1)
        chosen = intake.policy(policy)
        evidence = Evidence(None if encoder is None else intake.part("encoders", encoder), intake.scorers(scorers))
        finding = None if retriever is None else intake.retriever(retriever, evidence.dim)
        wrapped = [WithFloor(policy=given, floor=floor) if floor else given for given in (chosen, *intake.challengers(trials))]
        needs_all = trials is not None or chosen.learns_from == "all"
        choice = Choice.checked(rules, num_candidates, num_new, num_scored, log_features, needs_all)
        kind = intake.part("ledgers", ledger)
        options = _Options(kind, path, choice, snapshot_every, intake.clock(clock), intake.observer(observer))
        store = kind.open(path)
        contest = None if trials is None else Contest(trials, wrapped)
        learner = Learner(wrapped[0], evidence, Catalogue(evidence.dim, finding), store, contest)
        self = cls(store, learner, Decider(learner, choice, Arms(traffic)), options)
        try:
            self._start(Given(items, history, unknown_items), terms)
        except BaseException:
            self._release()
            raise
        return self

    @_going
    def recommend(
        self,
        request: Mapping[str, Any],
        *,
        size: int = 1,
        at_most: bool = False,
        candidates: Sequence[str] | None = None,
        seen: Iterable[str] = (),
        pinned: Mapping[int, str] | None = None,
        promoted: Mapping[int, Sequence[str]] | None = None,
        chosen: Sequence[str] | None = None,
        user: str | None = None,
        decision_id: str | None = None,
        deferred: bool = False,
    ) -> Slate:
        """Chooses what to show. The decision is in the ledger, durable, when this returns.

        With a `Traffic.sticky`, a user is served the same slate again for that time, at each place of the application: calls with the same
        size, candidates, pinned and promoted items. The record then says so; rewards go to the decision that drew the slate, which is the
        only one that is learned and evaluated. It is drawn anew once one of its items is removed, seen, or refused by a rule.

        Args:
            request: features of the user and the circumstances.
            size: L, how many items to show.
            at_most: shows fewer where fewer candidates are left, for users who have seen nearly everything. Where none is left, the slate
                is empty, and no decision is in the ledger.
            candidates: the item ids to choose from, to which the rules do not apply; None lets the catalogue find them, under the rules.
            seen: item ids not to show; goes with `candidates=None` only.
            pinned: the item to show at a position, counted from 0 at the top, whatever the rules and `seen` say. It has the probability 1,
                is learned from, and is left out of evaluations.
            promoted: for a position, the items that it is drawn from, as far as they are unseen, allowed and not shown above; where none
                of them is left, it is drawn from all.
            chosen: the slate that the application has chosen itself, of `size` items. It is logged with the probability 1 and learned from,
                and left out of evaluations; the record has how probable the policy would have made it.
            user: the user's key, which the ledger keeps with the decision; None takes the request's "user_id", where there is one.
            decision_id: a name for this decision, at most 128 bytes. The same name with the same request gives the same answer, so a
                call can be repeated; None makes one up.
            deferred: for a slate that is made before it is known whether it will be shown, such as one fetched ahead: it does not count
                before `shown` says so.

        Raises:
            InvalidRequest: a feature that is not a str, a finite number, a bool, a list of str or None; ids that are none; positions out of
                the slate.
            InvalidValue: a size that is no whole number >= 1; candidates and seen at once.
            EmptyCandidates, TooFewCandidates, DuplicateCandidates, UnknownItem: candidates that cannot fill the slate.
            DecisionConflict: a `decision_id` used before with another request.
            InvalidAnswer: a plugin that breaks its contract; InvalidScores and InvalidProbs are of this kind.

        Warns:
            IgnoredInput: once, request features that no part reads or that change nothing, or candidates without usable scores.

        Example:
            >>> with Recommender.open("books", items=[{"id": "emma"}, {"id": "dune"}, {"id": "ulysses"}]) as shop:
            ...     slate = shop.recommend({}, size=5, at_most=True, seen=["dune"], user="ann")
            >>> sorted(slate.ids), slate.propensities
            (['emma', 'ulysses'], (0.5, 1.0))
        """
        began = time.perf_counter()
        require_integer("size", size, at_least=1)
        one_of("at_most", at_most, (False, True))
        one_of("deferred", deferred, (False, True))
        self._decider.notices.warn()
        named, hidden = None if candidates is None else intake.candidates(candidates), sorted(set(intake.ids("seen", seen)))
        if named is not None and hidden:
            raise InvalidValue(f"seen goes with candidates=None only: leave seen items out of candidates, got seen = {hidden}.")
        placing = checked(pinned, promoted, chosen, int(size))
        plain = intake.request(request)
        key = intake.user(user, plain)
        fields: dict[str, Any] = {
            "request": plain,
            "size": int(size),
            "candidates": named,
            "seen": hidden,
            **({"at_most": True} if at_most else {}),
            **({"deferred": True} if deferred else {}),
            **placing.asked(),
        }
        if user is not None:
            fields["user"] = user
        name = secrets.token_hex(16) if decision_id is None else intake.name("decision_id", decision_id)
        num_works: int | None = None
        if decision_id is not None:
            known, num_works = self._turns.read(lambda: (self._ledger.decision(name), self._turns.num_works))
            if known is not None:
                return self._repeated(known, fields)
        payload = intake.canonical(fields)
        asked = _Asked(name, num_works, fields, payload, Features(plain), self._now(), key, placing)
        self._settle(asked.time)
        slate, ready, joined = self._decided(asked)
        for waited, receipt in joined:
            self._tell(Signalled(waited.name, str(receipt), waited.time - waited.moment))
        if ready is not None:
            self._decider.observe(ready, asked.features)
            self._tell(Decided(name, key, len(ready.record.slots), len(slate.ids), time.perf_counter() - began))
        return slate

    def _decided(self, asked: _Asked) -> _Answer:
        """Decides, and writes the decision; where several threads may ask the models at once, nobody waits while they work."""
        for _ in range(NUM_TRIES if self._evidence.is_shared else 0):
            try:
                ready = self._ready(asked, self._turns.read(functools.partial(self._standing, asked)) if self._is_sticky(asked) else None)
            except Moved:
                continue
            except Exception as error:
                if self._open:
                    raise
                raise LedgerError(CLOSED) from error  # another thread has closed it meanwhile, and its models are gone
            keep = self._turns.append if self._settlement is None else self._turns.write
            answer = keep(functools.partial(self._kept, asked, ready))
            if answer is not None:
                return answer
            asked = asked._replace(time=self._now())

        def decided() -> _Answer | None:
            now = asked if self._settlement is None else asked._replace(time=self._now())  # no window is closed on it yet
            ready = self._ready(now, self._standing(now))
            with self._turns.transaction():
                return self._kept(now, ready)

        answer = self._turns.alone(decided)
        assert answer is not None  # noqa: S101 -- in a turn nothing changes meanwhile
        return answer

    def _ready(self, asked: _Asked, standing: DecisionRecord | None) -> Ready | None:
        """Draws a slate, or takes the one that is to be served again; None where `at_most` allows that nothing is left to show."""
        request, fields, placing = Request(asked.features, asked.time), asked.fields, asked.placing
        size, at_most, decider = fields["size"], "at_most" in fields, self._decider  # the same to the end, whatever serves by then
        shelf = decider.shelf
        if standing is not None and decider.may_show(standing, request, fields, shelf):
            record = sticky.again(standing, asked.decision_id, asked.time, asked.payload, self.num_learned)
            return Ready(record, shelf, self._learner.num_recoveries, standing, is_new=False)
        try:
            found = decider.candidates(asked.decision_id, request, fields["candidates"], fields["seen"], placing)
        except EmptyCandidates:
            if at_most:
                return None
            raise
        shown = min(size, len(found.slots)) if at_most else size
        if shown > len(found.slots):
            most = len(found.slots)
            raise TooFewCandidates(f"size must be in [1, {most}], the number of candidates, got {size}; at_most=True shows fewer.")
        if placing.pinned and placing.pinned[-1][0] >= shown:
            raise TooFewCandidates(f"pinned must have positions below {shown}, the number of items to show, got {dict(placing.pinned)}.")
        ready = decider.decide(asked.decision_id, asked.time, shown, found, asked.payload, asked.user, placing)
        return ready._replace(standing=standing)

    def _kept(self, asked: _Asked, ready: Ready | None) -> _Answer | None:
        """Writes a decision, in a turn; None when it must be made anew."""
        if ready is None:
            return _Answer(Slate(asked.decision_id, (), ()))
        if not self._decider.is_current(ready) or (self._settlement is not None and self._settlement.is_settled(ready.record)):
            return None
        is_first = asked.num_works in (None, self._turns.num_works)
        known = None if is_first else self._ledger.decision(asked.decision_id)
        if known is not None:  # another thread was quicker
            with self._turns.refusing():
                return _Answer(self._repeated(known, asked.fields))
        if _name(self._standing(asked)) != _name(ready.standing):  # another thread has drawn a slate for this user
            return None
        joined: Sequence[tuple[Told, Receipt]] = ()
        if self._settlement is None:
            self._ledger.add_decision(ready.record)
        else:
            joined = self._settlement.open(ready.record)
        return _Answer(self._decider.slate(ready.record), ready if ready.is_new else None, joined)

    def _is_sticky(self, asked: _Asked) -> bool:
        return bool(asked.user is not None and self._decider.arms.traffic.sticky and not asked.placing.chosen)

    def _standing(self, asked: _Asked) -> DecisionRecord | None:
        """Returns the slate that a user is to be served again, if it may still be shown; in a turn."""
        if asked.user is None or not self._is_sticky(asked):
            return None
        return sticky.standing(self._ledger, asked.user, asked.fields, asked.time - self._decider.arms.traffic.sticky)

    def _repeated(self, known: DecisionRecord, asked: Mapping[str, Any]) -> Slate:
        before = json.loads(known.payload)
        fields = dict.fromkeys((*asked, *before))
        different = [field for field in fields if before.get(field) != asked.get(field)]  # not of the text: 1 is 1.0
        if different:
            raise DecisionConflict(
                f"decision_id {known.decision_id!r} was used before with another {' and '.join(different)}: give each decision its own."
            )
        return self._decider.slate(known)

    @_going
    def reward(
        self,
        decision_id: str,
        value: float,
        *,
        item: str | None = None,
        position: int | Literal["page"] | None = None,
        reward_id: str | None = None,
    ) -> bool:
        """Takes the reward of one shown item, or of the whole page; it is durable, and learned, when this returns.

        Args:
            decision_id: from `recommend`.
            value: finite.
            item: which of the shown items; may be left out when one was shown.
            position: where it was shown, from 0, in place of `item`; "page" for the whole page, whose reward is one outcome. The policy
                learns that once, as what came of its choice at the top.
            reward_id: a name for this reward, so that a repeated call counts once; by default "DECISION/POSITION".

        Returns:
            False when this reward had been taken before, which changes nothing.

        Raises:
            UnknownDecision, UnknownItem: no such decision, or one that did not show this item.
            InvalidValue: a position that the slate does not have; a decision that was not shown.
            InvalidReward: not a finite number, outside of the folder's `reward_range`, or refused by the policy.
            RewardConflict: a `reward_id` used before for something else, or a second reward for one shown item.

        Example:
            >>> with Recommender.open("films", items=[{"id": "alien"}, {"id": "heat"}]) as shop:
            ...     shown = shop.recommend({})
            ...     shop.reward(shown.decision_id, 1.0), shop.reward(shown.decision_id, 1.0)
            (True, False)
        """
        self._refuse_with_feedback()
        intake.reward(value, self._reward_range)
        place = intake.position(position)
        return self._take(decision_id, lambda record: [_Given(places.place(decision_id, self._ids(record), item, place), value, reward_id)])

    @_going
    def reward_slate(self, decision_id: str, values: Mapping[str, float], *, others: float = 0.0) -> bool:
        """Takes the rewards of a whole slate at once, all or none.

        Args:
            decision_id: from `recommend`.
            values: reward by item id, of the items that got one.
            others: the reward of the shown items that are not in `values`: what it is worth that nothing happened.

        Returns:
            False when all these rewards had been taken before.

        Raises:
            UnknownDecision, UnknownItem, InvalidReward, InvalidValue, RewardConflict: as `reward`.

        Example:
            >>> with Recommender.open("songs", items=[{"id": "help"}, {"id": "hurt"}, {"id": "hey"}]) as shop:
            ...     shown = shop.recommend({}, size=3)
            ...     _ = shop.reward_slate(shown.decision_id, {"hurt": 1.0})  # the other two earned 0
            ...     shop.num_learned
            3
        """
        self._refuse_with_feedback()
        if not isinstance(values, Mapping):
            raise InvalidReward(f"values must be a mapping of rewards by item id, got {values!r:.200}.")
        for value in (*values.values(), others):
            intake.reward(value, self._reward_range)

        def given(record: DecisionRecord) -> list[_Given]:
            by_position = {places.place(decision_id, self._ids(record), item, None): value for item, value in values.items()}
            return [_Given(position, by_position.get(position, others), None) for position in range(len(record.action))]

        return self._take(decision_id, given)

    @_going
    def signal(
        self,
        name: str,
        *,
        decision_id: str | None = None,
        user: str | int | None = None,
        item: str | None = None,
        position: int | Literal["page"] | None = None,
        value: float = 1.0,
        time: float | None = None,
        signal_id: str | None = None,
    ) -> Receipt:
        """Takes something that happened to a shown item or page; it is durable when this returns, and learned when the window closes.

        The recommender must have a `feedback`. What came too late, too early or twice, or fits no decision, is told and not an error,
        since the caller can do nothing about it.

        Args:
            name: which kind of signal, one of the names of `Feedback.signals`.
            decision_id: the decision that it is about, or
            user: whose decision it is about. Of those that showed `item`, and in whose window it happened, it is the newest made before
                it happened or at that moment, else the first after. Give one of the two.
            item: which of the shown items; may be left out with a `decision_id` that showed one, or where the whole page is rewarded.
            position: where it was shown, from 0, in place of `item`; "page" where the whole page is rewarded.
            value: what it is worth before the weight of its name.
            time: when it happened, in seconds since the epoch by the application's clock; None for now. It decides which window it falls
                in. Windows close by the recommender's clock all the same, and a time after that clock counts as now.
            signal_id: a name for this signal, so that a repeated call counts once; by default "DECISION/POSITION/NAME".

        Raises:
            InvalidValue: no feedback; an unknown name; `decision_id` and `user` at once, or neither; a position that the slate does not
                have; a time more than a day after the recommender's clock, or in another unit.
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
        now = self._now()
        told = Told(name, value, now, decision_id, user, item, position, time, signal_id).checked(settlement.feedback)
        self._settle(now)

        def taken() -> tuple[Receipt, list[places.Outcome], int, list[Published]]:
            assert self._settlement is not None  # noqa: S101 -- refused above; not the one of before, which a failure may have replaced
            learned = self._learner.num_learned
            with self._turns.refusing():
                receipt, outcomes = self._settlement.take(told)
            self._learner.learn_all(outcomes)
            return receipt, outcomes, learned, self._publish_when_due()

        receipt, outcomes, learned, changes = self._turns.write(taken)
        self._learned(learned, len(outcomes), changes)
        self._tell(Signalled(name, str(receipt), 0.0 if time is None else now - time))
        return receipt

    @_going
    def correct(self, event_id: str, value: float | None) -> Receipt:
        """Corrects a signal, or takes it back; in a folder without a feedback, a reward. What was learned of it is corrected, too.

        A policy that can forget, such as the linear ones, does so at once. For another, the state is made again from the ledger: from the
        last snapshot if that is older than the reward, else from the start.

        Args:
            event_id: the `signal_id` or `reward_id`, or what stands for it by default.
            value: what it is to be; None takes it back.

        Returns:
            `TAKEN`; `DUPLICATE` when it is so already; `UNKNOWN` when there is no such signal or reward.

        Raises:
            InvalidReward: a value as `signal` or `reward` refuses it.

        Example:
            >>> with Recommender.open("toys", items=[{"id": "kite"}]) as shop:
            ...     shown = shop.recommend({}, decision_id="visit-1")
            ...     _ = shop.reward("visit-1", 5.0, reward_id="order-17")
            ...     shop.correct("order-17", None), shop.audit()
            (<Receipt.TAKEN: 'taken'>, True)
        """
        now = self._now()
        self._settle(now)
        if self._settlement is None and value is not None:
            intake.reward(value, self._reward_range)

        def corrected() -> tuple[Receipt, list[places.Outcome]]:
            if self._settlement is None:
                return places.corrected(self._ledger, event_id, value, now)
            return self._settlement.correct(event_id, value, now)

        receipt, outcomes = self._revised(corrected)
        self._tell(Corrected(str(event_id), str(receipt), len(outcomes)))
        return receipt

    @_going
    def shown(self, decision_id: str) -> Receipt:
        """Notes that a deferred decision was shown: from now on it counts. Durable when this returns.

        In a folder with a feedback this must be said before the window of the decision closes, which runs from when it was made.

        Returns:
            `TAKEN`; `DUPLICATE` when it is so already; `LATE` when the window has closed, and nothing has changed; `UNKNOWN`.

        Example:
            >>> with Recommender.open("trains", items=[{"id": "ice"}]) as shop:
            ...     ahead = shop.recommend({}, deferred=True)
            ...     shop.shown(ahead.decision_id), shop.reward(ahead.decision_id, 1.0)
            (<Receipt.TAKEN: 'taken'>, True)
        """
        return self._say(SHOWN, decision_id)

    @_going
    def not_shown(self, decision_id: str) -> Receipt:
        """Notes that a decision was not shown after all: it is no zero, and its rewards are taken back. Durable when this returns.

        Returns:
            `TAKEN`; `DUPLICATE` when it is so already; `UNKNOWN`.

        Example:
            >>> with Recommender.open("boats", items=[{"id": "ferry"}]) as shop:
            ...     shop.not_shown(shop.recommend({}).decision_id)
            <Receipt.TAKEN: 'taken'>
        """
        return self._say(NOT_SHOWN, decision_id)

    def _say(self, name: str, decision_id: str) -> Receipt:
        now = self._now()
        self._settle(now)
        receipt, _ = self._revised(lambda: said(self._ledger, self._settlement, name, decision_id, now))
        self._tell(Signalled(name, str(receipt), 0.0))
        return receipt

    def _revised(self, work: Callable[[], tuple[R, list[places.Outcome]]]) -> tuple[R, list[places.Outcome]]:
        """Writes what `work` does, and learns its outcomes, in a transaction of its own."""

        def revised() -> tuple[R, list[places.Outcome], int, list[Published]]:
            with self._turns.transaction():
                learned = self._learner.num_learned
                answer, outcomes = work()
                self._learner.learn_all(outcomes)
                changes = self._publish_when_due()
            return answer, outcomes, learned, changes

        answer, outcomes, learned, changes = self._turns.alone(revised)
        self._learned(learned, len(outcomes), changes)
        return answer, outcomes

    @_going
    def settle(self) -> int:
        """Closes every window that has ended, and learns; `recommend` and `signal` do so too, so only an idle shop needs it.

        Returns:
            How many rewards were learned.

        Example:
            >>> now = 1_700_000_000.0
            >>> with Recommender.open("bikes", items=[{"id": "bmx"}], feedback=Feedback(window=600), clock=lambda: now) as shop:
            ...     _ = shop.recommend({})
            ...     now += 601
            ...     shop.settle()
            1
        """
        return self._settle(self._now())

    def _settle(self, now: float) -> int:
        if self._settlement is None or not self._settlement.is_due(now):
            return 0

        def settled() -> tuple[None, list[places.Outcome]]:
            assert self._settlement is not None  # noqa: S101 -- asked above
            return None, list(self._settlement.settle(now))

        _, outcomes = self._revised(settled)
        for decision, reward in outcomes:
            self._tell(Rewarded(decision.decision_id, 1, reward.value))
        return len(outcomes)

    def _refuse_with_feedback(self) -> None:
        if self._settlement is not None:
            raise InvalidValue("This folder has a feedback, which makes the rewards: tell what happened by `signal`.")

    @_going
    def add_items(self, rows: Items | Iterable[Mapping[str, Any]]) -> None:
        """Adds items to the catalogue, recommendable from the next request on; durable when this returns.

        Raises:
            InvalidRequest, DuplicateCandidates: a row that is no item, or an item that is there. Nothing is added then.

        Example:
            >>> with Recommender.open("plants", items=[{"id": "fern"}]) as shop:
            ...     shop.add_items([{"id": "ivy", "price": 5.0}])
            ...     len(shop.catalogue)
            2
        """
        given = intake.items(rows, self._now())
        with self._changing_items:
            items = self.catalogue.place(given)
            if self._evidence.is_shared:
                vectors = self._evidence.vectors(items)
                self._turns.alone(lambda: self._hold(items, vectors, active=True))
            else:
                self._turns.alone(lambda: self._hold(items, self._evidence.vectors(items), active=True))

    def _hold(self, items: Items, vectors: np.ndarray, *, active: bool) -> None:
        with self._ledger.transaction():
            contents = self.catalogue.kept(self._ledger, items, vectors, active=active)
        self.catalogue.hold(contents)

    @_going
    def remove_items(self, ids: Iterable[str]) -> None:
        """Takes items out of the catalogue; decisions that showed them can still be rewarded. Durable when this returns.

        Raises:
            UnknownItem, DuplicateCandidates: an item that is not there, or twice. Nothing is removed then.

        Example:
            >>> with Recommender.open("games", items=[{"id": "go"}, {"id": "chess"}]) as shop:
            ...     shop.remove_items(["go"])
            ...     shop.recommend({}).ids
            ('chess',)
        """
        named = intake.ids("ids", ids)
        with self._changing_items:
            slots = self.catalogue.slots(named)
            items, vectors = take(self.catalogue.items, slots), self.catalogue.vectors[slots]
            self._turns.alone(lambda: self._hold(items, vectors, active=False))

    @_going
    def standings(self) -> tuple[Standing, ...]:
        """Tells how the challengers stand.

        Example:
            >>> trials = Trials(challengers={"bold": "lin-ts"})
            >>> with Recommender.open("zoo", items=[{"id": "owl"}], policy="lin-ucb", reward_range=(0, 1), trials=trials) as zoo:
            ...     [(standing.name, standing.num_rounds) for standing in zoo.standings()]
            [('bold', 0)]
        """
        contest = self._learner.contest
        with self._learner.lock:
            return () if contest is None else tuple(contest.standing(entry) for entry in contest.entries.values())

    @_going
    def promote(self, name: str) -> None:
        """Lets a challenger decide from the next request on; durable when this returns. The champion before becomes a challenger.

        Raises:
            InvalidValue: no challenger of this name.
            Unproven: the lower bound of its advantage is not above zero.

        Example:
            >>> trials = Trials(challengers={"bold": "lin-ts"})
            >>> with Recommender.open("farm", items=[{"id": "egg"}], policy="lin-ucb", reward_range=(0, 1), trials=trials) as farm:
            ...     farm.promote("bold")
            Traceback (most recent call last):
            recsdk.errors.Unproven: 'bold' must be shown to be better, its advantage above 0 at level 0.95: at least -1 after 0 outcomes.
        """

        def promoted() -> Change:
            self._contest().proven(name)
            return Change("promoted", name)

        self._change(promoted)

    @_going
    def ramp(self, name: str, share: float) -> None:
        """Lets a challenger decide a share of the requests; durable when this returns. Propensities are those of the exact mixture.

        It meets traffic of its own before it may be promoted, and its bound narrows sooner.

        Args:
            name: of the challenger; another one's ramp ends.
            share: in [0, 1]; 0 ends it.

        Raises:
            InvalidValue: no challenger of this name; a share out of its range.

        Example:
            >>> trials = Trials(challengers={"bold": "lin-ts"})
            >>> with Recommender.open("park", items=[{"id": "oak"}], policy="lin-ucb", reward_range=(0, 1), trials=trials) as park:
            ...     park.ramp("bold", 0.1)
            ...     park.standings()[0].share
            0.1
        """
        require_number("share", share, at_least=0, at_most=1)

        def ramped() -> Change:
            self._contest().entry(name)
            return Change("ramped", name, float(share))

        self._change(ramped)

    @_going
    def swap(
        self,
        *,
        encoder: str | Encoder[Any] | None = None,
        scorers: Sequence[str | Scorer[Any] | Callable[..., Any]] | None = None,
        history: Events | Iterable[Mapping[str, Any]] = (),
        unknown_items: Literal["refuse", "skip"] = "refuse",
    ) -> str:
        """Changes the encoder and the scorers while the recommender serves; durable when this returns.

        The new model is fitted, learns the whole log, and answers the last 64 stored requests beside the one that serves. Then one step
        puts it in its place. Rewards of decisions that were made before count: their features are encoded again. `rollback` goes back.

        Args:
            encoder: the deep model, by name or as a config; None for the present one.
            scorers: all of them; None for the present ones.
            history: what all models are fitted to, also those that the folder has; without one, only new scorers are, to nothing.
            unknown_items: as for `open`.

        Returns:
            The version of the model that serves now; with the same parts and no history, nothing changes.

        Raises:
            ModelRefused: it cannot be fitted, learn, or answer stored requests. The one before serves on, as if nothing had been.
            InvalidValue, PluginError, UnknownPlugin: arguments as for `open`.

        Example:
            >>> with Recommender.open("mall", items=[{"id": "hat", "price": 9.0}]) as mall:
            ...     version = mall.swap(scorers=["popularity"])
            ...     mall.published[-1].reason, mall.published[-1].model == version
            ('swapped', True)
        """
        given = Given((), history, unknown_items)
        found = None if encoder is None else intake.part("encoders", encoder)
        chosen = None if scorers is None else intake.scorers(scorers)
        with self._swapping, contextlib.closing(self._reading()) as reading:
            present, now = self._evidence, intake.seconds(self._options.clock())
            evidence = Evidence(found or present.encoder, present.scorers if chosen is None else chosen)
            model = models.prepared(reading, self._learner, self._decider_of, evidence, given, now)
            if model.evidence.model == present.model:
                model.close()
            else:
                self._serve(model, "swapped")
            return self._evidence.model

    @_going
    def rollback(self) -> None:
        """Goes back to what served before the last swap or promotion; durable when this returns.

        What served before has gone on learning: a policy knows everything, a model lacks what came since the last snapshot. After the
        folder was opened again, a model that was swapped out is made again first, and learns the whole log.

        Raises:
            InvalidValue: nothing to go back to.
            ModelRefused: the model before cannot be made again.
        """
        with self._swapping:
            changes = self.published
            models.refuse_nothing_to_go_back_to([change.reason for change in changes])
            if changes[-1].reason == "promoted":
                self._change(self._promoted_before)
                return
            before, self._before = self._before, None
            if before is None:
                with contextlib.closing(self._reading()) as reading:
                    before = models.brought_back(reading, self._learner, self._decider_of, changes[-2].model)
            self._serve(before, "rolled back")

    def _promoted_before(self) -> Change:
        before = self._contest().before
        if before is None:
            raise InvalidValue("There is nothing to go back to: the policy before is not among the challengers.")
        return Change("rolled back", before)

    def _reading(self) -> Ledger:
        """Opens the ledger to read in this thread, as it is at this moment; writers go on."""
        reading: Ledger = self._options.store.read(self._options.folder)
        return reading

    def _decider_of(self, learner: Learner) -> Decider:
        return Decider(learner, self._options.choice, Arms(self._decider.arms.traffic))

    def _serve(self, model: models.Model, reason: str) -> None:
        """Puts a model in the place of the one that serves; what was decided by that one and is not written yet is decided anew."""

        def served() -> Published:
            replaced = models.serving(self._ledger, self._learner, self._decider)
            try:
                with self._ledger.transaction():
                    models.publish(model, self._ledger, self._learner, encodes=reason == "swapped")
                    change = published.add(self._ledger, reason, model.evidence.model, model.learner.deciding()[0], self._now())
                model.decider.start(self._ledger)
            except BaseException:
                model.close()
                raise
            self._turns.follow(model.learner)
            self._learner, self._evidence, self._decider = model.learner, model.evidence, model.decider
            self.catalogue = model.learner.catalogue
            self._bury()
            self._before, self._retired = (replaced, None) if reason == "swapped" else (None, replaced)
            functions.notice(self._ledger, self._evidence.scorers)
            return change

        with self._changing_items:
            change = self._turns.alone(served)
        self._tell(change)

    def _bury(self) -> None:
        """Frees the models that have gone; not at once, since another thread may still ask the last one."""
        for model in (self._before, self._retired):
            if model is not None:
                model.close()
        self._before = self._retired = None

    def _contest(self) -> Contest:
        if self._learner.contest is None:
            raise InvalidValue("This recommender has no challengers: open it with trials=recsdk.Trials(challengers={...}).")
        return self._learner.contest

    def _change(self, change: Callable[[], Change]) -> None:
        def changed() -> Published:
            asked = change()
            with self._turns.transaction():
                return self._publish(asked)

        self._tell(self._turns.alone(changed))

    @_going
    def snapshot(self) -> None:
        """Writes what has been learned, all or nothing, so that recovery folds only what comes after.

        The recommender does so by itself, after every `snapshot_every` rewards and when it is closed.

        Example:
            >>> import recsdk
            >>> with Recommender.open("maps", items=[{"id": "rome"}], policy="lin-ucb") as shop:
            ...     shop.snapshot()
            ...     recsdk.read_policy("maps", "lin-ucb").policy.floor
            0.05
        """
        began = time.perf_counter()
        self._turns.alone(self._snapshot)
        self._tell(Snapshotted(self.num_learned, time.perf_counter() - began))

    def _snapshot(self) -> None:
        self._learner.snapshot()
        if self._before is not None:
            try:
                self._before.learner.keep_up()
            except Exception:  # it is out of use, so nobody is served worse; `rollback` makes it again, and says what is wrong
                LOGGER.exception("The model before the last swap could not learn.")
                self._before.close()
                self._before = None

    @_going
    def forget(self, user: str | int) -> Forgotten:
        """Forgets a user: empties what the ledger has of them, in all of its files, and takes what was learned of it out of the state.

        The user's decisions, signals and rewards keep their numbers and times and lose all else; evaluations and folds pass them over. What
        a model was fitted to before, a `history`, stays in that model. A user who comes again is a new one.

        Args:
            user: the user's key, as `recommend` took it.

        Returns:
            A report of what was done; of a user who is not there too.

        Raises:
            InvalidRequest: no user's key.
            InvalidValue: a ledger that cannot do so.
            LedgerError: all is forgotten, but a reader still has the old files open: call again once it is closed.

        Example:
            >>> with Recommender.open("pets", items=[{"id": "cat"}, {"id": "dog"}], policy="lin-ts") as shop:
            ...     _ = shop.reward(shop.recommend({"user_id": "ann"}).decision_id, 1.0)
            ...     done = shop.forget("ann")
            ...     done.num_decisions, done.num_rewards, shop.audit()
            (1, 1, True)
        """
        key = intake.user(user, {})
        if key is None:
            raise InvalidRequest(f"user must be the user's key, a str that is not empty or a whole number, got {user!r}.")

        def forgotten() -> Forgotten:
            try:
                return forgetting.forget(self._ledger, self._learner, key, self._turns.transaction())
            finally:
                self._mend(is_ahead=False)
                self._decider.notices.forget()
                if self._before is not None:  # `rollback` makes it again, without the user
                    self._before.close()
                    self._before = None

        with self._swapping:  # a model that is being made has learned of the user
            return self._turns.alone(forgotten)

    @_going
    def audit(self) -> bool:
        """Folds the whole ledger from the start, and tells whether that gives the present state to the last bit.

        Raises:
            InvalidValue: for a native policy or scorer, which does not write the same state in the same bytes.

        Example:
            >>> with Recommender.open("pens", items=[{"id": "quill"}], policy="lin-ts") as shop:
            ...     _ = shop.reward(shop.recommend({}).decision_id, 1.0)
            ...     shop.audit()
            True
        """
        return self._turns.alone(self._learner.audit)

    def close(self) -> None:
        """Writes a snapshot and releases the folder. Closing twice is no error.

        Example:
            >>> shop = Recommender.open("hats", items=[{"id": "fez"}])
            >>> shop.close()
        """
        if os.getpid() != self._process:
            return  # a forked copy: the folder is not its to release
        if self._open:
            self._turns.alone(self._close)

    def _close(self) -> None:
        if self._open:  # no other thread was quicker
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
    def policy(self) -> Policy[Any]:
        """The policy that decides: the one given, or a challenger that was promoted."""
        return self._learner.policy

    @property
    def published(self) -> tuple[Published, ...]:
        """What has served in this folder, and since when, oldest first: openings with other parts, and changes while it served."""
        return self._turns.read(lambda: tuple(published.read(self._ledger)))

    @property
    def durability(self) -> str:
        """What survives of an acknowledged call: that of the process, "process-crash", or of the machine, "power-loss"; else "unknown"."""
        return self._turns.read(lambda: self._ledger.durability if isinstance(self._ledger, Durable) else "unknown")

    @property
    def num_learned(self) -> int:
        """How many rewards the state has been folded over."""
        return self._learner.num_learned

    @property
    def num_left_out(self) -> int:
        """How many candidates were left out since their scores were unusable, over all requests."""
        return self._decider.num_left_out

    def _start(self, given: Given, terms: Terms) -> None:
        terms, now = opening.agree(self._ledger, terms), self._now()
        self._decider.arms.traffic.check(terms.feedback)
        fresh = opening.fill(self._ledger, self._evidence, self.catalogue, given, terms, now)
        opening.compete(self._ledger, self._learner, terms, self._decider.arms.traffic)
        self._recover()
        opening.keep(self._ledger, terms)
        self._decider.start(self._ledger)
        published.opened(self._ledger, self._evidence.model, self._learner.deciding()[0], now)
        self._reward_range = terms.reward_range
        if len(fresh.ids):
            self.add_items(fresh)
        if terms.feedback is not None:
            self._settlement = Settlement(terms.feedback, self._ledger, self._ids)

    def _ids(self, record: DecisionRecord) -> tuple[str, ...]:
        return self._decider.slate(record).ids

    def _now(self) -> float:
        seconds = intake.seconds(self._options.clock())
        if self._settlement is None:
            return seconds
        with self._ticking:
            return self._settlement.now(seconds)

    def _take(self, decision_id: str, given: Callable[[DecisionRecord], list[_Given]]) -> bool:
        now = self._now()

        def taken() -> tuple[list[RewardRecord], int, list[Published]]:
            learned = self._learner.num_learned
            with self._turns.refusing():
                record = places.known_and_shown(self._ledger, decision_id)
                named = [self._named(record, one, now) for one in given(record)]
                fresh = [reward for reward in named if places.is_new(self._ledger, reward)]
                for reward in fresh[:1]:  # before it is written: a policy that refuses it has changed nothing
                    self._learner.learn(record, reward)
                    self._ledger.add_reward(reward)
            for reward in fresh[1:]:
                self._learner.learn(record, reward)
                self._ledger.add_reward(reward)
            return fresh, learned, self._publish_when_due()

        fresh, learned, changes = self._turns.write(taken)
        self._learned(learned, len(fresh), changes)
        self._tell(Rewarded(decision_id, len(fresh), sum(reward.value for reward in fresh)))
        return bool(fresh)

    def _named(self, record: DecisionRecord, given: _Given, now: float) -> RewardRecord:
        place, value, reward_id = given
        name = places.place_name(record.decision_id, place) if reward_id is None else intake.name("reward_id", reward_id)
        return RewardRecord(name, record.decision_id, place, float(value) + 0.0, now)  # a ledger need not tell -0.0 from 0.0

    def _publish(self, change: Change) -> Published:
        """Lets another policy decide, in a transaction."""
        with self._learner.lock:  # who decides, and what is noted of him, change at once
            self._learner.change(change)
            self._decider.note()
            policy = self._learner.deciding()[0]
        return published.add(self._ledger, change.reason, self._evidence.model, policy, self._now())

    def _publish_when_due(self) -> list[Published]:
        change = None if self._learner.contest is None else self._learner.contest.due()
        return [] if change is None else [self._publish(change)]

    def _learned(self, before: int, num_more: int, changes: Sequence[Published]) -> None:
        """Tells of changes, and writes a snapshot when one is due, after rewards were learned."""
        for change in changes:
            self._tell(change)
        self._snapshot_when_due(before, num_more)

    def _snapshot_when_due(self, learned: int, num_more: int) -> None:
        """Writes a snapshot when rewards, `num_more` after `learned` others, were those after which one is due."""
        every = self._options.snapshot_every
        if (learned + num_more) // every > learned // every:
            self.snapshot()

    def _mend(self, is_ahead: bool) -> None:
        """Makes the state as the ledger is, after a transaction was rolled back."""
        if is_ahead:
            self._recover_or_release()
        if self._settlement is not None and self._open:
            latest = self._settlement.now(0.0)
            self._settlement = Settlement(self._settlement.feedback, self._ledger, self._ids)
            self._settlement.now(latest)

    def _recover_or_release(self) -> None:
        try:
            self._recover()
        except BaseException:
            self._release()
            raise

    def _recover(self) -> None:
        began = time.perf_counter()
        with self._learner.lock:  # whose state it is, and what is noted of him, change at once
            self._learner.recover()
            if self._open and self._decider.is_started:
                self._decider.note()
        self._tell(Recovered(self.num_learned, time.perf_counter() - began))

    def _tell(self, notice: Notice) -> None:
        if self._options.observer is None:
            return
        with self._telling:
            try:
                self._options.observer(notice)
            except Exception:  # who looks on must not stop the loop
                self.num_observer_errors += 1
                LOGGER.exception("The observer %r failed at %r.", self._options.observer, notice)

    def _release(self) -> None:
        self._open = False
        self._turns.end()
        try:
            self._learner.close()
            self._evidence.close()
            self._bury()
        finally:
            self._ledger.close()


def _name(record: DecisionRecord | None) -> str | None:
    return None if record is None else record.decision_id
