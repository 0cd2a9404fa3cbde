"""What a user took lately, as the ledger has it: the history that encoders and scorers of sequences read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from recsdk.ledger import PAGE, DecisionRecord, Ledger
from recsdk.live.asking import Asked
from recsdk.live.guard import Features
from recsdk.live.rewards import Feedback, happened, standing, standing_rewards, was_shown

HISTORY = "history"
"""The feature of a request."""
KEPT = "kept"
"""The field of a decision's payload that has the history which the request was given here."""
MOST_USERS = 10_000
MOST_DECISIONS = 100
"""Older ones of a user are not looked at."""


def features(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the features of a request, from a decision's payload: those of the application, and the history if it was given here."""
    request: dict[str, Any] = asked["request"]
    return request if KEPT not in asked else request | {HISTORY: asked[KEPT]}


class Taken(NamedTuple):
    """An item that a user took.

    Attributes:
        time: seconds since the epoch.
        decision_id: of the decision that showed it.
        position: where it was shown.
        item: its id.
    """

    time: float
    decision_id: str
    position: int
    item: str


class Histories:
    """The latest items that users took: those with a reward, or a signal, above 0. For the thread that has its turn.

    A history is read from the ledger when its user comes, and kept for the users who came last. Each decision's record has the history that
    it was made with, so nothing depends on what is kept here.

    Attributes:
        generation: how often `renew` was called.

    Args:
        length: how many items at most; 0 for no histories.
        ids_of: returns the ids of the items that a decision showed.
    """

    def __init__(self, length: int, ids_of: Callable[[DecisionRecord], Sequence[str]]) -> None:
        self.length = length
        self.generation = 0
        self._ids_of = ids_of
        self._kept: OrderedDict[str, list[Taken]] = OrderedDict()

    def wanted(self, asked: Asked) -> bool:
        """Tells whether a request is to be given a history: of a known user, without one of its own."""
        return bool(self.length) and asked.user is not None and HISTORY not in asked.fields["request"]

    def given(self, asked: Asked, ledger: Ledger, feedback: Feedback | None) -> Asked:
        """Returns what was asked with the user's history."""
        found = [taken.item for taken in self._of(str(asked.user), ledger, feedback)]
        return asked._replace(fields=asked.fields | {KEPT: found}, features=Features(asked.features.plain() | {HISTORY: found}))

    def add(self, decision: DecisionRecord, position: int, worth: float, time: float) -> None:
        """Notes that something was told of an item; it is in the ledger."""
        if decision.user is None or decision.user not in self._kept or worth <= 0 or position == PAGE:
            return
        taken, there = self._taken(decision, position, time), self._kept[decision.user]
        same = next((other for other in there if other[1:] == taken[1:]), taken)
        self._kept[decision.user] = self._latest([*(other for other in there if other is not same), max(same, taken)])

    def clear(self) -> None:
        """Leaves all to the ledger again, of which something was changed."""
        self._kept.clear()

    def renew(self) -> None:
        """Is `clear`, after which no decision may be written any more with a history that was read before."""
        self.generation += 1
        self.clear()

    def _of(self, user: str, ledger: Ledger, feedback: Feedback | None) -> list[Taken]:
        if user not in self._kept:
            self._kept[user] = self._latest(list(self._read(user, ledger, feedback)))
            if len(self._kept) > MOST_USERS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(user)
        return self._kept[user]

    def _read(self, user: str, ledger: Ledger, feedback: Feedback | None) -> Iterator[Taken]:
        for decision in islice(ledger.decisions_of(user), MOST_DECISIONS):
            for position, time in _told(decision, ledger, feedback).items():
                yield self._taken(decision, position, time)

    def _taken(self, decision: DecisionRecord, position: int, time: float) -> Taken:
        return Taken(time, decision.decision_id, position, self._ids_of(decision)[position])

    def _latest(self, taken: list[Taken]) -> list[Taken]:
        return sorted(taken)[-self.length :]


def _told(decision: DecisionRecord, ledger: Ledger, feedback: Feedback | None) -> dict[int, float]:
    """Returns the positions of a decision whose items were taken, with the time of the last reward or signal above 0."""
    if feedback is None:
        rewards = standing_rewards(ledger.rewards_of(decision.decision_id)).values()
        there = [(reward.position, reward.time) for reward in rewards if not reward.void and reward.value > 0]
    else:
        signals = ledger.signals_of(decision.decision_id)
        known = [signal for signal in standing(signals) if signal.name in dict(feedback.signals)]
        there = [(s.position, happened(s)) for s in known if feedback.worth(s.name, s.value) > 0 and was_shown(decision, signals)]
    return {position: time for position, time in sorted(there) if position != PAGE}
