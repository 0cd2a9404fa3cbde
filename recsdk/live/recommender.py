"""The live loop: request, candidates, evidence, decision, reward, learning."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from recsdk.base import Encoder, Events, Items, Policy, Retriever, Scorer
from recsdk.checks import require_integer, require_number
from recsdk.data import take
from recsdk.errors import InvalidRequest, InvalidReward, LedgerError, RecsdkError
from recsdk.ledger import DecisionRecord, Durable
from recsdk.ledger.stores import folder_path
from recsdk.live import answering, asking, dropping, elsewhere, events, feeding, forgetting, intake, keeping, places, published, swapping
from recsdk.live.catalogue import Catalogue, Rule
from recsdk.live.contest import Change, Contest
from recsdk.live.deciding import Choice, Decider, Slate
from recsdk.live.dropping import Dropped
from recsdk.live.events import Worth
from recsdk.live.evidence import Evidence
from recsdk.live.exported import KEPT
from recsdk.live.faults import Fallback, Faults
from recsdk.live.feeding import Call, Fed
from recsdk.live.forgetting import Forgotten
from recsdk.live.learner import Learner
from recsdk.live.local import LocalDecision
from recsdk.live.loop import Loop, Options
from recsdk.live.observe import Observer
from recsdk.live.opening import Given, Terms
from recsdk.live.published import Published
from recsdk.live.rewards import NOT_SHOWN, SHOWN, Feedback, Receipt
from recsdk.live.settlement import Told
from recsdk.live.traffic import Arms, Traffic
from recsdk.live.trials import Standing, Trials
from recsdk.live.turns import CLOSED
from recsdk.policies.wrappers import WithFloor

P = ParamSpec("P")
R = TypeVar("R")
FALLBACK = Fallback()


def _going(method: Callable[Concatenate[Recommender, P], R]) -> Callable[Concatenate[Recommender, P], R]:
    """Refuses calls of a recommender that is closed, or that was opened before a fork."""

    @functools.wraps(method)
    def going(self: Recommender, *args: P.args, **kwargs: P.kwargs) -> R:
        if os.getpid() != self._process:  # after a fork two processes would write to one connection, and wait for one lock
            raise LedgerError("This recommender was opened before a fork: open it afterwards, in the one process that is to use it.")
        if not self._loop.is_open:
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

    def __init__(self, loop: Loop) -> None:
        """Use `Recommender.open`."""
        self._loop = loop
        self._process = os.getpid()
        self._swapping = threading.Lock()

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
        remember: int = 0,
        snapshot_every: int = 10_000,
        trials: Trials | None = None,
        ledger: Any = "sqlite",
        fallback: Fallback | None = FALLBACK,
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
                for an application that gives each reward itself, by `reward`. It is kept in the folder. It takes no `reward_range` beside
                it: its `cap` bounds the rewards.
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
            remember: how many items a history has that a request is given: the latest ones with a reward, or a signal, above 0, oldest
                first. It is read from the last 100 decisions for its user when the user comes, and kept up from then on. It stands in
                the request's "history", where the application gives none, and in the decision's record. 0 for no histories.
            snapshot_every: rewards between snapshots; recovery folds at most so many.
            trials: challengers of the policy, see `Trials`; they need a declared range of rewards, and keep the features of all candidates.
                A challenger that was promoted goes on deciding, also after an opening, as long as it is among them.
            ledger: the kind of store for decisions and rewards, by name or as a config.
            fallback: how decisions are made when a part fails, see `Fallback`; None lets its error pass, for development and tests.
            clock: a function that gives the seconds since the epoch.
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
        require_integer("remember", remember, at_least=0)
        require_number("floor", floor, at_least=0, at_most=1)
        chosen = intake.policy(policy)
        evidence = Evidence(None if encoder is None else intake.part("encoders", encoder), intake.scorers(scorers))
        finding = None if retriever is None else intake.retriever(retriever, evidence.dim)
        wrapped = [WithFloor(policy=given, floor=floor) if floor else given for given in (chosen, *intake.challengers(trials))]
        needs_all = trials is not None or chosen.learns_from == "all"
        choice = Choice.checked(rules, num_candidates, num_new, num_scored, log_features, needs_all)
        faults, kind = Faults(fallback), intake.part("ledgers", ledger)
        options = Options(kind, path, choice, snapshot_every, intake.clock(clock), intake.observer(observer), faults, int(remember))
        store = kind.open(path)
        contest = None if trials is None else Contest(trials, wrapped)
        learner = Learner(wrapped[0], evidence, Catalogue(evidence.dim, finding), store, contest)
        loop = Loop(store, learner, Decider(learner, choice, Arms(traffic)), options)
        try:
            loop.start(Given(items, history, unknown_items), terms)
        except BaseException:
            loop.release()
            raise
        return cls(loop)

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

        With `Traffic.sticky`, a user who asks again within that time, with the same size, candidates, pinned and promoted items, gets the
        same slate. The record says so. Rewards go to the decision that drew the slate, the only one that is learned and evaluated. The
        slate is drawn anew once one of its items is removed, seen, or refused by a rule.

        Args:
            request: features of the user and the circumstances.
            size: L, how many items to show.
            at_most: shows fewer where fewer candidates are left, for users who have seen nearly everything. Where none is left, the slate
                is empty, and no decision is in the ledger.
            candidates: at most 10,000 item ids to choose from, to which the rules do not apply; None lets the catalogue find them, under
                the rules.
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
            InvalidRequest: a feature that is not a str, a finite number, a bool, a list of str or None; what is no id; positions out of
                the slate.
            InvalidValue: a size that is no whole number >= 1; candidates and seen at once.
            EmptyCandidates, TooFewCandidates, TooManyCandidates, DuplicateCandidates, UnknownItem: candidates that cannot fill the slate.
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
        self._loop.decider.notices.warn()
        return answering.answered(
            self._loop,
            asking.asked(
                request,
                size=size,
                at_most=at_most,
                candidates=candidates,
                seen=seen,
                pinned=pinned,
                promoted=promoted,
                chosen=chosen,
                user=user,
                decision_id=decision_id,
                deferred=deferred,
            ),
        )

    @_going
    def recommend_many(self, requests: Iterable[Mapping[str, Any]]) -> list[Slate]:
        """Chooses for many requests at once: all decisions are in the ledger, durable, when this returns, written in one commit.

        Each answer is what `recommend` would have given, one after the other at the same moment. For feeds and mails that are made ahead,
        and for services that collect requests; it costs one sync of the disk.

        Args:
            requests: for each the arguments of `recommend` by name: its "request", and any of the others.

        Returns:
            The slates, in the same order.

        Raises:
            RecsdkError: what `recommend` raises of the first request that is refused, named by its index: `requests[3]: ...`. Nothing
                is decided then.

        Example:
            >>> with Recommender.open("mails", items=[{"id": "cup"}, {"id": "pot"}]) as shop:
            ...     slates = shop.recommend_many([{"request": {"user_id": "ann"}}, {"request": {"user_id": "bob"}, "size": 2}])
            >>> [len(slate.ids) for slate in slates]
            [1, 2]
        """
        self._loop.decider.notices.warn()
        return answering.all_answered(self._loop, asking.all_asked(requests))

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
            ExpiredDecision: a decision that was dropped; it is an `UnknownDecision`.
            InvalidValue: a position that the slate does not have; a decision that was not shown.
            InvalidReward: not a finite number, outside of the folder's `reward_range`, or refused by the policy.
            RewardConflict: a `reward_id` used before for something else, or a second reward for one shown item.

        Example:
            >>> with Recommender.open("films", items=[{"id": "alien"}, {"id": "heat"}]) as shop:
            ...     shown = shop.recommend({})
            ...     shop.reward(shown.decision_id, 1.0), shop.reward(shown.decision_id, 1.0)
            (True, False)
        """
        events.refuse_with_feedback(self._loop)
        intake.reward(value, self._loop.reward_range)
        place = intake.position(position)

        def given(record: DecisionRecord) -> list[Worth]:
            return [Worth(places.place(decision_id, self._loop.ids(record), item, place), value, reward_id)]

        return events.reward(self._loop, decision_id, given, is_one=True)

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
        events.refuse_with_feedback(self._loop)
        if not isinstance(values, Mapping):
            raise InvalidReward(f"values must be a mapping of rewards by item id, got {values!r:.200}.")
        for value in (*values.values(), others):
            intake.reward(value, self._loop.reward_range)

        def given(record: DecisionRecord) -> list[Worth]:
            by_position = {places.place(decision_id, self._loop.ids(record), item, None): value for item, value in values.items()}
            return [Worth(position, by_position.get(position, others)) for position in range(len(record.action))]

        return events.reward(self._loop, decision_id, given)

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
            decision_id: the decision that it is about. Give this or `user`.
            user: in place of `decision_id`, the user whose decision it is about. Of those that showed `item` and whose window `time` falls
                in, this is the newest that was made by then, else the first one after.
            item: which of the shown items; may be left out with a `decision_id` that showed one, or where the whole page is rewarded.
            position: where it was shown, from 0, in place of `item`; "page" where the whole page is rewarded.
            value: a number that the weight of its name multiplies, such as a price.
            time: when it happened, in seconds since the epoch by the application's clock; None for now. It decides which window it falls
                in. Windows close by the recommender's clock all the same, and a time after that clock counts as now.
            signal_id: a name for this signal, so that a repeated call counts once; by default "DECISION/POSITION/NAME".

        Raises:
            InvalidValue: no feedback; an unknown name; `decision_id` and `user` at once, or neither; a position that the slate does not
                have; a time more than a day after the recommender's clock, or in another unit.
            InvalidReward: a value that is not a finite number, or is beyond 1e15 with its weight.
            UnknownItem: the decision did not show this item.
            RewardConflict: a `signal_id` used before for something else.

        Example:
            >>> feedback = Feedback(window=600, signals={"click": 1, "purchase": 5})
            >>> with Recommender.open("shop", items=[{"id": "apple"}], feedback=feedback) as shop:
            ...     shown = shop.recommend({"user_id": "ann"})
            ...     shop.signal("click", decision_id=shown.decision_id)
            <Receipt.TAKEN: 'taken'>
        """
        return events.signal(self._loop, Told(name, value, 0.0, decision_id, user, item, position, time, signal_id))

    @_going
    def correct(self, event_id: str, value: float | None) -> Receipt:
        """Corrects a signal, or takes it back; in a folder without a feedback, a reward. What was learned of it is corrected, too.

        A policy that can forget, such as the linear ones, does so at once. For another, the state is made again from the ledger: from the
        last snapshot if that is older than the reward, else from the start.

        Args:
            event_id: the `signal_id` or `reward_id` that was given, or the default one.
            value: what it is to be; None takes it back.

        Returns:
            `TAKEN`; `DUPLICATE` when it is so already; `UNKNOWN` when there is no such signal or reward; `EXPIRED` when older ones were
            dropped and it cannot be corrected any more.

        Raises:
            InvalidReward: a value as `signal` or `reward` refuses it.

        Example:
            >>> with Recommender.open("toys", items=[{"id": "kite"}]) as shop:
            ...     shown = shop.recommend({}, decision_id="visit-1")
            ...     _ = shop.reward("visit-1", 5.0, reward_id="order-17")
            ...     shop.correct("order-17", None), shop.audit()
            (<Receipt.TAKEN: 'taken'>, True)
        """
        return events.correct(self._loop, event_id, value)

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
        return events.say(self._loop, SHOWN, decision_id)

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
        return events.say(self._loop, NOT_SHOWN, decision_id)

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
        return self._loop.settle(self._loop.now())

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
        self._loop.add_items(rows)

    @_going
    def change_items(self, rows: Items | Iterable[Mapping[str, Any]]) -> None:
        """Gives items of the catalogue other features, all in one step; durable when this returns.

        An item keeps what scorers have learned of it. It counts as added now, unless its row states when.

        Raises:
            InvalidRequest, UnknownItem, DuplicateCandidates: a row that is no item, or an item that is not there, or twice. Nothing is
                changed then.

        Example:
            >>> with Recommender.open("stall", items=[{"id": "fig", "price": 3.0}]) as shop:
            ...     shop.change_items([{"id": "fig", "price": 2.0}])
            ...     shop.catalogue.items.features["price"].tolist()
            [2.0]
        """
        self._loop.change_items(rows)

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
        with self._loop.changing_items:
            slots = self.catalogue.slots(named)
            items, vectors = take(self.catalogue.items, slots), self.catalogue.vectors[slots]
            self._loop.turns.alone(lambda: self._loop.hold(items, vectors, active=False))

    @_going
    def feed(self, stream: str, calls: Sequence[Call], place: Callable[[list[Any]], Fed]) -> list[Any]:
        """Makes many calls that come from a stream; they, and how far the stream was read, are in the ledger at once, or nothing is.

        So a reader that is killed anywhere goes on where `fed` says, and each message counts exactly once.

        Args:
            stream: its name; a recommender can be fed from several.
            calls: in their order. One that changes the catalogue is the last.
            place: is given the answers, and returns how far the stream was read and what is still to be sent. It may be called again, when
                a call was refused that had written already, and all others are made anew.

        Returns:
            For each call what the method returns, or the error by which it was refused: an `InvalidValue`, `Unknown` or `Conflict`. Others
            go on beside it.

        Raises:
            InvalidValue: a method that cannot be called so; a change of the catalogue that is not the last call.
            InvalidAnswer, LedgerError: as the methods raise them; nothing is done then.

        Example:
            >>> from recsdk.live.feeding import Call, Fed
            >>> with Recommender.open("kiosk", items=[{"id": "daily"}]) as kiosk:
            ...     asked = Call("recommend", {"request": {}, "decision_id": "d1"}, time=1_700_000_000.0)
            ...     told = Call("reward", {"decision_id": "d1", "value": 1.0}, time=1_700_000_060.0)
            ...     slate, is_new = kiosk.feed("visits", [asked, told], lambda answers: Fed(b"2"))
            ...     slate.ids, is_new, kiosk.fed("visits").position
            (('daily',), True, b'2')
        """
        return feeding.feed(self._loop, {name: getattr(self, name) for name in feeding.CALLS}, stream, calls, place)

    @_going
    def fed(self, stream: str) -> Fed | None:
        """Tells how far a stream was read that feeds this recommender; None for one that never did.

        Example:
            >>> with Recommender.open("booth", items=[{"id": "photo"}]) as booth:
            ...     booth.fed("visits")
        """
        return feeding.fed(self._loop, stream)

    @_going
    def export(self, *, keep: int = KEPT) -> bytes:
        """Returns what decides now, as a file by which `LocalRecommender` decides in another process.

        It holds the models, the policy's state, all items and the secret of the draws, so it is to be kept as secret as the folder. While
        nothing has changed, the same file comes again.

        Args:
            keep: files that the ledger keeps, this one and the newest before: decisions by older ones are refused.

        Raises:
            InvalidValue: a recommender with a feedback, rules, sticky slates, a holdout, a burn-in or a ramp, which need more than that.
            ModelRefused: parts that are no installed plugins, which another process could not make.

        Example:
            >>> from recsdk.live.local import LocalRecommender
            >>> with Recommender.open("plaza", items=[{"id": "tea"}, {"id": "coffee"}], policy="lin-ts") as plaza:
            ...     here = plaza.recommend({}, decision_id="visit-1")
            ...     with LocalRecommender.load(plaza.export()) as kiosk:
            ...         kiosk.recommend({}, decision_id="visit-1") == here
            True
        """
        return elsewhere.export(self._loop, keep)

    @_going
    def take(self, decisions: Sequence[LocalDecision]) -> list[bool | RecsdkError]:
        """Takes decisions that other processes have made by an export, so that they can be rewarded; durable when this returns.

        Each is made again, and refused where that does not give the same slate by the same distributions.

        Args:
            decisions: see `LocalRecommender.batch`.

        Returns:
            For each whether it is new, or the error by which it is refused: an `InvalidValue`, `Unknown` or `Conflict`.

        Raises:
            InvalidAnswer, LedgerError: as `recommend`; nothing is taken then.

        Example:
            >>> from recsdk.live.local import LocalRecommender
            >>> with Recommender.open("arcade", items=[{"id": "tea"}, {"id": "coffee"}], policy="lin-ts") as arcade:
            ...     with LocalRecommender.load(arcade.export()) as kiosk:
            ...         _ = kiosk.recommend({})
            ...         arcade.take(kiosk.batch().decisions), arcade.take(kiosk.batch().decisions)
            ([True], [False])
        """
        return elsewhere.take(self._loop, decisions)

    @_going
    def standings(self) -> tuple[Standing, ...]:
        """Tells how the challengers stand.

        Example:
            >>> trials = Trials(challengers={"bold": "lin-ts"})
            >>> with Recommender.open("zoo", items=[{"id": "owl"}], policy="lin-ucb", reward_range=(0, 1), trials=trials) as zoo:
            ...     [(standing.name, standing.num_rounds) for standing in zoo.standings()]
            [('bold', 0)]
        """
        contest = self._loop.learner.contest
        with self._loop.learner.lock:
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
            self._loop.contest.proven(name)
            return Change("promoted", name)

        self._loop.change(promoted)

    @_going
    def ramp(self, name: str, share: float) -> None:
        """Lets a challenger decide a share of the requests; durable when this returns. Propensities are those of the exact mixture.

        So the challenger decides for some users before it may be promoted, and the bound of its advantage narrows sooner.

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
            self._loop.contest.entry(name)
            return Change("ramped", name, float(share))

        self._loop.change(ramped)

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
            history: past events. All models are fitted to it, also those that the folder has. Without it only new scorers are fitted, to no
                events.
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
        with self._swapping:
            swapping.swap(self._loop, found, chosen, given)
            return self._loop.evidence.model

    @_going
    def rollback(self) -> None:
        """Goes back to what served before the last swap or promotion; durable when this returns.

        What served before has gone on learning: a policy knows everything, a model lacks what came since the last snapshot. After the
        folder was opened again, a model that was swapped out is made again first, and learns the whole log.

        Raises:
            InvalidValue: nothing to go back to.
            ModelRefused: the model before cannot be made again.

        Example:
            >>> with Recommender.open("pier", items=[{"id": "crab", "price": 9.0}]) as pier:
            ...     _ = pier.swap(scorers=["popularity"])
            ...     pier.rollback()
            ...     pier.published[-1].reason
            'rolled back'
        """
        with self._swapping:
            swapping.rollback(self._loop, self.published)

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
        self._loop.snapshot()

    @_going
    def forget(self, user: str | int) -> Forgotten:
        """Forgets a user: empties what the ledger has of them, in all of its files, and takes what was learned of it out of the state.

        The user's decisions, signals and rewards keep their numbers and times and lose all else; evaluations and folds pass them over. What
        a model was fitted to before, a `history`, stays in that model. A user who comes again is a new one.

        Args:
            user: the user's key, as `recommend` took it.

        Returns:
            A report of what was done. For a user who is not there its counts are 0 and its `state` is "nothing".

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
                return forgetting.forget(self._loop.ledger, self._loop.learner, key, self._loop.turns.transaction())
            finally:
                self._loop.restart()
                self._loop.decider.notices.forget()
                self._loop.exports.clear()
                self._loop.leave()  # `rollback` makes it again, without the user

        with self._swapping:  # a model that is being made has learned of the user
            return self._loop.turns.alone(forgotten)

    @_going
    def compact(self, *, days: float = 30.0) -> int:
        """Moves decisions that are old and settled into compressed Parquet files beside the ledger, while others go on being made.

        Everything reads them as before. Their room in the ledger is used again, and given back by `recsdk ledger compact`, which needs the
        folder alone. Decisions wait only while a file is entered in the ledger. Needs `recsdk[parquet]`.

        Args:
            days: how old a decision must be. With a feedback its window must have closed, too.

        Returns:
            How many decisions were moved.

        Raises:
            InvalidValue: days below 0; a ledger that cannot do this.
            LedgerError: a disk that fails.
            MissingExtra: without polars.

        Example:
            >>> with Recommender.open("shed", items=[{"id": "rake"}]) as shop:
            ...     _ = shop.recommend({})
            ...     shop.compact(days=30), shop.compact(days=0)
            (0, 1)
        """
        require_number("days", days, at_least=0)
        before = self._loop.options.clock() - days * keeping.DAY
        with self._swapping, contextlib.closing(swapping.reading(self._loop)) as reading:  # nobody is forgotten meanwhile
            return keeping.compact_open(self._loop.ledger, reading, before, self._loop.turns.alone)

    @_going
    def drop(self, *, days: float) -> Dropped:
        """Drops decisions that are old, with all that is about them, while others go on being made. What was learned of them stays.

        Of a decision, its signals and rewards only their numbers, times and hashes are left. A decision goes when it, and all that was told
        of it, is older than `days`; with a feedback its window must have closed, too. What is told of it after that is `Receipt.EXPIRED`
        or `ExpiredDecision`, and its name is free. Evaluations read what is left. The state can be made again from the last dropped reward
        on, so `audit` folds from there, and neither `correct` nor `forget` can change what was learned before.

        Args:
            days: how old; well above the time after which users are forgotten, rewards corrected or logs evaluated.

        Raises:
            InvalidValue: days below 0; a ledger that cannot do so.
            LedgerError: all is dropped, but a reader still has the old files open; the next drop or opening removes them.

        Example:
            >>> with Recommender.open("loft", items=[{"id": "sofa"}], policy="lin-ts") as shop:
            ...     _ = shop.reward(shop.recommend({}).decision_id, 1.0)
            ...     shop.drop(days=400).num_decisions, shop.drop(days=0).num_decisions, shop.num_learned, shop.audit()
            (0, 1, 1, True)
        """
        require_number("days", days, at_least=0)
        with self._swapping:
            return dropping.drop(self._loop, self._loop.options.clock() - days * keeping.DAY)

    @_going
    def audit(self) -> bool:
        """Folds the whole ledger from the start, and tells whether that gives the present state to the last bit.

        Where records were dropped, the start is what had been learned up to the last dropped reward.

        Raises:
            InvalidValue: for a native policy or scorer, which does not write the same state in the same bytes.

        Example:
            >>> with Recommender.open("pens", items=[{"id": "quill"}], policy="lin-ts") as shop:
            ...     _ = shop.reward(shop.recommend({}).decision_id, 1.0)
            ...     shop.audit()
            True
        """
        return self._loop.turns.alone(self._loop.learner.audit)

    def close(self) -> None:
        """Writes a snapshot and releases the folder. Closing twice is no error.

        Example:
            >>> shop = Recommender.open("hats", items=[{"id": "fez"}])
            >>> shop.close()
        """
        if os.getpid() != self._process:
            return  # a forked copy: the folder is not its to release
        if self._loop.is_open:
            self._loop.turns.alone(self._loop.close)

    def __enter__(self) -> Recommender:
        """Returns the recommender itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: types.TracebackType | None) -> None:
        """Closes it."""
        self.close()

    @property
    def catalogue(self) -> Catalogue:
        """The items that can be shown."""
        return self._loop.catalogue

    @property
    def folder(self) -> Path:
        """Where it is kept: what reads a folder, such as `recsdk.read_ledger`, may read this one while it is open."""
        return self._loop.options.folder

    @property
    def policy(self) -> Policy[Any]:
        """The policy that decides: the one given, or a challenger that was promoted."""
        return self._loop.learner.policy

    @property
    def published(self) -> tuple[Published, ...]:
        """What has served in this folder, and since when, oldest first: openings with other parts, and changes while it served."""
        return self._loop.turns.read(lambda: tuple(published.read(self._loop.ledger)))

    @property
    def durability(self) -> str:
        """The end that acknowledged calls survive: of the process, "process-crash"; or of the machine, "power-loss"; else "unknown"."""
        return self._loop.turns.read(lambda: self._loop.ledger.durability if isinstance(self._loop.ledger, Durable) else "unknown")

    @property
    def num_learned(self) -> int:
        """How many rewards the state has been folded over."""
        return self._loop.learner.num_learned

    @property
    def num_left_out(self) -> int:
        """How many candidates were left out since their scores were unusable, over all requests."""
        return self._loop.decider.num_left_out

    @property
    def num_observer_errors(self) -> int:
        """How often the observer has failed."""
        return self._loop.num_observer_errors
