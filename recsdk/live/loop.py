"""What serves in a folder: the ledger, the parts over it, and how these change, recover and end together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from recsdk.base import Items
from recsdk.errors import InvalidValue, LedgerError
from recsdk.ledger import DecisionRecord, Ledger
from recsdk.live import intake, opening, published
from recsdk.live.catalogue import Catalogue
from recsdk.live.catalogue import Change as Contents
from recsdk.live.contest import Change, Contest
from recsdk.live.deciding import Choice, Decider
from recsdk.live.evidence import Evidence
from recsdk.live.exported import Exports
from recsdk.live.faults import Faults
from recsdk.live.histories import Histories
from recsdk.live.learner import Learner
from recsdk.live.models import Model
from recsdk.live.observe import LOGGER, Notice, Observer, Recovered, Rewarded, Snapshotted
from recsdk.live.opening import Given, Terms
from recsdk.live.places import Outcome
from recsdk.live.published import Published
from recsdk.live.settlement import Settlement
from recsdk.live.tally import Tally
from recsdk.live.turns import Turns

R = TypeVar("R")


class Options(NamedTuple):
    """What a folder is opened with and does not keep.

    Attributes:
        store: the kind of ledger.
        folder: where it is.
        choice: how candidates are found.
        snapshot_every: rewards between snapshots.
        clock: seconds since the epoch.
        observer: is told of everything; None for nobody.
        faults: of the parts that decide.
        remember: items in the history that a request is given; 0 for none.
    """

    store: Any
    folder: Path
    choice: Choice
    snapshot_every: int
    clock: Callable[[], float]
    observer: Observer | None
    faults: Faults
    remember: int = 0


class Loop:
    """The live loop's parts, of which a swap, a promotion or a mend puts others in the place of these. Threads may share it.

    Attributes:
        ledger: of the folder.
        learner: what has been learned, with its evidence and its catalogue.
        decider: over that learner.
        settlement: of a folder with a feedback; else None.
        reward_range: as declared.
        turns: at the ledger, and at all that is learned from it.
        options: that the folder was opened with.
        is_open: until it is released.
        before: the model before the last swap, which goes on learning.
        retired: the model that was rolled back.
        num_observer_errors: how often the observer has failed.
        tally: what became of the last events.
        histories: what users took lately.
        exports: that other processes decide by.
    """

    def __init__(self, ledger: Ledger, learner: Learner, decider: Decider, options: Options) -> None:
        self.ledger = ledger
        self.learner = learner
        self.decider = decider
        self.settlement: Settlement | None = None
        self.reward_range: tuple[float, float] | None = None
        self.turns = Turns(ledger, learner, self._mend)
        self.options = options
        self.is_open = True
        self.before: Model | None = None
        self.retired: Model | None = None
        self.num_observer_errors = 0
        self.tally = Tally()
        self.histories = Histories(options.remember, self.ids)
        self.exports = Exports()
        self.changing_items = threading.RLock()
        self._telling = threading.RLock()
        self._ticking = threading.Lock()

    def start(self, given: Given, terms: Terms) -> None:
        """Makes the folder, or recovers it where it stopped."""
        terms, now = opening.agree(self.ledger, terms), self.now()
        self.decider.arms.traffic.check(terms.feedback)
        fresh = opening.fill(self.ledger, self.evidence, self.catalogue, given, terms, now)
        opening.compete(self.ledger, self.learner, terms, self.decider.arms.traffic)
        self._recover()
        opening.keep(self.ledger, terms)
        self.decider.start(self.ledger)
        published.opened(self.ledger, self.evidence.model, self.learner.deciding()[0], now)
        self.reward_range = terms.reward_range
        if len(fresh.ids):
            self.add_items(fresh)
        if terms.feedback is not None:
            self.settlement = Settlement(terms.feedback, self.ledger, self.ids)

    @property
    def evidence(self) -> Evidence:
        """The encoder and the scorers."""
        return self.learner.evidence

    @property
    def catalogue(self) -> Catalogue:
        """The items."""
        return self.learner.catalogue

    def ids(self, record: DecisionRecord) -> tuple[str, ...]:
        """Returns the ids of the items that a decision showed."""
        return self.decider.ids(record)

    def now(self) -> float:
        """Returns the time of what happens now."""
        block = self.turns.block
        seconds = intake.seconds(self.options.clock() if block is None else block.time)
        if self.settlement is None:
            return seconds
        with self._ticking:
            return self.settlement.now(seconds)

    def tell(self, notice: Notice) -> None:
        """Counts what was told, and tells the observer, whose failure stops nothing."""
        if self.turns.later(self.tell, notice):
            return
        self.tally.add(notice)
        if self.options.observer is None:
            return
        with self._telling:
            try:
                self.options.observer(notice)
            except Exception:  # who looks on must not stop the loop
                self.num_observer_errors += 1
                LOGGER.exception("The observer %r failed at %r.", self.options.observer, notice)

    def revised(self, work: Callable[[], tuple[R, list[Outcome]]]) -> tuple[R, list[Outcome]]:
        """Writes what `work` does, and learns its outcomes, in a transaction of its own."""

        def revised() -> tuple[R, list[Outcome], int, list[Published]]:
            with self.turns.transaction():
                learned = self.learner.num_learned
                answer, outcomes = work()
                self.learner.learn_all(outcomes)
                changes = self.publish_when_due()
            return answer, outcomes, learned, changes

        answer, outcomes, learned, changes = self.turns.alone(revised)
        self.learned(learned, len(outcomes), changes)
        return answer, outcomes

    def settle(self, now: float) -> int:
        """Closes every window that has ended, and learns; returns how many rewards."""
        if self.settlement is None or not self.settlement.is_due(now):
            return 0

        def settled() -> tuple[None, list[Outcome]]:
            assert self.settlement is not None  # noqa: S101 -- asked above
            return None, list(self.settlement.settle(now))

        try:
            _, outcomes = self.revised(settled)
        except Exception as error:
            if (block := self.turns.block) is not None:
                block.fault = error
            raise
        for decision, reward in outcomes:
            self.tell(Rewarded(decision.decision_id, 1, reward.value, decision.user))
        return len(outcomes)

    def catch_up(self, now: float) -> None:
        """Is `settle` for a caller who wants something else: where a part fails to learn, the outcomes wait, and that goes on."""
        if self.settlement is None:
            return
        self.options.faults.asking(now)("learning", None, lambda: self.settle(now), int, (LedgerError,))

    def learned(self, before: int, num_more: int, changes: Sequence[Published]) -> None:
        """Tells of changes, and writes a snapshot when one is due, after `num_more` rewards were learned beside `before` others."""
        if (not num_more and not changes) or self.turns.later(self.learned, before, num_more, changes):
            return
        for change in changes:
            self.tell(change)
        every = self.options.snapshot_every
        if (before + num_more) // every > before // every:
            self.snapshot()

    def add_items(self, rows: Items | Iterable[Mapping[str, Any]]) -> None:
        """Adds items to the catalogue."""
        self._put(rows, lambda given: self.catalogue.place(given))

    def change_items(self, rows: Items | Iterable[Mapping[str, Any]]) -> None:
        """Replaces items of the catalogue by others of the same ids."""
        self._put(rows, lambda given: self.catalogue.changed(given))

    def _put(self, rows: Items | Iterable[Mapping[str, Any]], place: Callable[[Items], Items]) -> None:
        given = intake.items(rows, self.now())
        with self.changing_items:
            items = place(given)
            if self.evidence.is_shared:
                vectors = self.evidence.vectors(items)
                self.turns.alone(lambda: self.hold(items, vectors, active=True))
            else:
                self.turns.alone(lambda: self.hold(items, self.evidence.vectors(items), active=True))

    def hold(self, items: Items, vectors: np.ndarray, *, active: bool) -> None:
        """Writes items, and then holds them in the catalogue; in a turn, with `changing_items`."""
        with self.turns.transaction():
            contents = self.catalogue.kept(self.ledger, items, vectors, active=active)
        self.turns.hold(self._held, contents)

    def _held(self, contents: Contents) -> None:
        try:
            self.catalogue.hold(contents)
        except BaseException:  # the ledger has items whose slots the catalogue would give away: opened again, both have them
            self.release()
            raise

    @property
    def contest(self) -> Contest:
        """The policy and its challengers.

        Raises:
            InvalidValue: there are none.
        """
        if self.learner.contest is None:
            raise InvalidValue("This recommender has no challengers: open it with trials=recsdk.Trials(challengers={...}).")
        return self.learner.contest

    def change(self, change: Callable[[], Change]) -> None:
        """Lets another policy decide, in a transaction of its own."""

        def changed() -> Published:
            asked = change()
            with self.turns.transaction():
                return self._publish(asked)

        self.tell(self.turns.alone(changed))

    def publish_when_due(self) -> list[Published]:
        """Lets a challenger decide that has proven itself, or the champion again; in a transaction."""
        change = None if self.learner.contest is None else self.learner.contest.due()
        return [] if change is None else [self._publish(change)]

    def _publish(self, change: Change) -> Published:
        with self.learner.lock:  # who decides, and what is noted of him, change at once
            self.learner.change(change)
            self.options.faults.renew()
            self.decider.note()
            policy = self.learner.deciding()[0]
        return published.add(self.ledger, change.reason, self.evidence.model, policy, self.now())

    def serve(self, model: Model) -> None:
        """Lets a model serve from now on; in a turn."""
        self.turns.follow(model.learner)
        self.options.faults.renew()
        self.learner, self.decider = model.learner, model.decider
        self.bury()

    def bury(self) -> None:
        """Frees the models that have gone; not at once, since another thread may still ask the last one."""
        for model in (self.before, self.retired):
            if model is not None:
                model.close()
        self.before = self.retired = None

    def leave(self) -> None:
        """Frees the model before the last swap: `rollback` makes it again."""
        if self.before is not None:
            self.before.close()
            self.before = None

    def snapshot(self) -> None:
        """Writes what has been learned."""
        began = time.perf_counter()
        self.turns.alone(self._snapshot)
        self.tell(Snapshotted(self.learner.num_learned, time.perf_counter() - began))

    def _snapshot(self) -> None:
        self.learner.snapshot()
        self.tally.keep(self.ledger)
        if self.before is not None:
            try:
                self.before.learner.keep_up()
            except Exception:  # it is out of use, so nobody is served worse; `rollback` makes it again, and says what is wrong
                LOGGER.exception("The model before the last swap could not learn.")
                self.leave()

    def restart(self) -> None:
        """Makes the settlement and the histories again from the ledger; time does not go back."""
        self.histories.renew()
        if (block := self.turns.block) is not None:
            self.decider.arms.num_drawn = block.num_drawn
        if self.settlement is not None and self.is_open:
            latest = self.settlement.now(0.0) if block is None else block.latest
            self.settlement = Settlement(self.settlement.feedback, self.ledger, self.ids)
            self.settlement.now(latest)

    def _mend(self, is_ahead: bool) -> None:
        """Makes the state as the ledger is, after a transaction was rolled back."""
        if is_ahead:
            try:
                self._recover()
            except BaseException:
                self.release()
                raise
        self.restart()

    def _recover(self) -> None:
        began = time.perf_counter()
        with self.learner.lock:  # whose state it is, and what is noted of him, change at once
            self.learner.recover()
            if self.is_open and self.decider.is_started:
                self.decider.note()
        self.tell(Recovered(self.learner.num_learned, time.perf_counter() - began))

    def close(self) -> None:
        """Writes a snapshot and releases the folder; in a turn."""
        if self.is_open:  # no other thread was quicker
            try:
                self.snapshot()
            finally:
                self.release()

    def release(self) -> None:
        """Refuses all calls from now on, and closes the ledger and all parts."""
        self.is_open = False
        self.turns.end()
        self.options.faults.close()
        try:
            self.learner.close()
            self.evidence.close()
            self.exports.clear()
            self.bury()
        finally:
            self.ledger.close()
