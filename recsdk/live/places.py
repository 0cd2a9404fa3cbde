"""Where a reward belongs: its decision, its position there, its name, and the rewards that are there already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from recsdk.errors import ExpiredDecision, InvalidValue, RewardConflict, UnknownDecision, UnknownItem, nearest, quoted
from recsdk.ledger import PAGE, DecisionRecord, Ledger, RewardRecord
from recsdk.live import base, intake, marks
from recsdk.live.rewards import Receipt, standing_rewards, was_shown

Outcome = tuple[DecisionRecord, RewardRecord]
"""A reward that is in the ledger, and its decision."""

SEVERAL = "To join several signals about one item, such as a click and a purchase, open a folder with feedback=recsdk.Feedback(window=...)."
CORRECTING = "To correct a reward, call `correct`."


def decided(ledger: Ledger, decision_id: Any) -> DecisionRecord | None:
    """Returns the decision of a name; None where there is none, its user is forgotten, or it is dropped, or the one that drew its slate."""
    record = ledger.decision(decision_id) if intake.is_name(decision_id) else None
    if record is None or not len(record.action):
        return None
    drawn = marks.read(record).repeats
    return None if drawn is not None and ledger.decision(drawn) is None else record


def missing(ledger: Ledger, decision_id: Any) -> Receipt:
    """Tells what becomes of what is about a decision that is not there."""
    record = ledger.decision(decision_id) if intake.is_name(decision_id) else None
    name = decision_id if record is None else marks.read(record).repeats
    return Receipt.EXPIRED if base.was_dropped(ledger, ledger.decision, name) else Receipt.UNKNOWN


def known(ledger: Ledger, decision_id: Any) -> DecisionRecord:
    """Returns the decision of a name; for a slate that was served again, the one that drew it.

    Raises:
        UnknownDecision: a name that is not in the ledger.
        ExpiredDecision: of a decision that was dropped.
    """
    record = decided(ledger, decision_id)
    if record is None and missing(ledger, decision_id) is Receipt.EXPIRED:
        raise ExpiredDecision(f"Decision {decision_id!r:.200} was dropped by its age: nothing can be told of it any more.")
    if record is None:
        raise UnknownDecision(f"No decision {decision_id!r:.200} is in the ledger: give the decision_id that recommend returned.")
    return marks.origin(ledger, record)


def known_and_shown(ledger: Ledger, decision_id: Any) -> DecisionRecord:
    """Returns the decision of a name.

    Raises:
        UnknownDecision: a name that is not in the ledger.
        InvalidValue: a decision that was not shown.
    """
    record = known(ledger, decision_id)
    if not was_shown(record, ledger.signals_of(record.decision_id)):
        raise InvalidValue(f"Only what was shown has rewards: call shown({decision_id!r}) before them.")
    return record


def place(decision_id: str, ids: Sequence[str], item: Any, position: int | None) -> int:
    """Returns the position that a reward is about, or `PAGE`; the page of one item is that item's position.

    Args:
        decision_id: for messages.
        ids: L item ids that were shown, from the top.
        item: one of these, or None.
        position: from 0, or `PAGE`, or None. Without both, the one item that was shown.

    Raises:
        UnknownItem: an item that was not shown, or none where several were shown.
        InvalidValue: a position that the slate does not have, or an item and a position.
    """
    if position is not None and item is not None:
        raise InvalidValue(f"item or position must be given, not both, got {quoted(item)} and {quoted(position)}.")
    if position == PAGE or (item is None and position is None):
        if len(ids) == 1:
            return 0
        if position == PAGE:
            return PAGE
    if position is not None:
        if not 0 <= position < len(ids):
            raise InvalidValue(f"position must be in [0, {len(ids) - 1}] in decision {decision_id!r}, got {position}.")
        return position
    if not isinstance(item, str) or item not in ids:
        told = f"item must be one of {tuple(ids)}, shown in decision {decision_id!r}, got {quoted(item)}"
        raise UnknownItem(f"{told}.{nearest(str(item), ids)}")
    return list(ids).index(item)


def place_name(decision_id: str, position: int) -> str:
    """Returns the name of a position's first reward, where the application gives none."""
    return f"{decision_id}/{'page' if position == PAGE else position}"


def is_new(ledger: Ledger, reward: RewardRecord) -> bool:
    """Tells whether a reward is not in the ledger yet.

    Raises:
        RewardConflict: its name was used for another reward, its item has one by another name, or it is of a whole page some of whose
            items have rewards, or the other way round.
    """
    same = ledger.reward(reward.reward_id)
    if same is not None:
        if same._replace(time=reward.time) == reward:
            return False
        told = f"reward_id {reward.reward_id!r} was used before for {_told(same)}, got {_told(reward)}"
        raise RewardConflict(f"{told}. {CORRECTING} {SEVERAL}")
    for other in ledger.rewards_of(reward.decision_id):
        if other.position == reward.position:
            told = f"One shown item has one reward, {_told(other)} by reward_id {other.reward_id!r}, got {_told(reward)} too"
            raise RewardConflict(f"{told}. {CORRECTING} {SEVERAL}")
        if PAGE in (other.position, reward.position):
            raise RewardConflict(f"A page has one reward, or its items have: there is {_told(other)}, got {_told(reward)} too.")
    return True


def revision(
    ledger: Ledger, decision: DecisionRecord, position: int, before: RewardRecord | None, value: float | None, now: float
) -> RewardRecord | None:
    """Returns the record that makes a reward another one, or None where it is the same already.

    Args:
        ledger: where the record's name must be new.
        decision: whose reward.
        position: from 0, or `PAGE`.
        before: the reward that stands there; None where there never was one.
        value: the reward from now on; None for no reward.
        now: seconds since the epoch.
    """
    stands = None if before is None or before.void else before.value
    if value == stands:
        return None
    name = place_name(decision.decision_id, position)
    if before is None:
        return None if value is None else RewardRecord(name, decision.decision_id, position, value + 0.0, now)
    name = free(name, ledger.reward)
    number = 0.0 if value is None else value + 0.0
    return RewardRecord(name, decision.decision_id, position, number, now, replaces=before.reward_id, void=value is None)


def all_void(ledger: Ledger, decision: DecisionRecord, now: float) -> list[RewardRecord]:
    """Returns the records that take back every reward of a decision."""
    there = standing_rewards(ledger.rewards_of(decision.decision_id))
    found = [revision(ledger, decision, position, reward, None, now) for position, reward in sorted(there.items())]
    return [reward for reward in found if reward is not None]


def corrected(ledger: Ledger, reward_id: Any, value: float | None, now: float) -> tuple[Receipt, list[Outcome]]:
    """Corrects a reward, or takes it back with None; inside a transaction. Returns the correction, to be learned."""
    first = ledger.reward(reward_id) if isinstance(reward_id, str) else None
    decision = None if first is None else decided(ledger, first.decision_id)
    if first is None or decision is None:
        return Receipt.EXPIRED if base.was_dropped(ledger, ledger.reward, reward_id) else Receipt.UNKNOWN, []
    present = standing_rewards(ledger.rewards_of(first.decision_id))[first.position]
    reward = revision(ledger, decision, first.position, present, value, now)
    if reward is None:
        return Receipt.DUPLICATE, []
    if base.is_fixed(ledger, decision.decision_id):
        return Receipt.EXPIRED, []
    ledger.add_reward(reward)
    return Receipt.TAKEN, [(decision, reward)]


def free(name: str, lookup: Callable[[str], Any]) -> str:
    """Returns a name for a further record: `name` with the first number that no record has."""
    number = 1
    while lookup(f"{name}/{number}") is not None:
        number += 1
    return f"{name}/{number}"


def _told(reward: RewardRecord) -> str:
    where = "of the page" if reward.position == PAGE else f"at position {reward.position}"
    return f"{reward.value} {where} of decision {reward.decision_id!r}"
