"""How a recommender does, read from its folder: whether feedback comes in, whether it still explores, and alarms when not."""

from __future__ import annotations

import json
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from recsdk.ledger import PAGE, DecisionRecord, Ledger
from recsdk.live import marks, published
from recsdk.live.rewards import NOT_SHOWN, SHOWN, Feedback, is_deferred, num_settled, standing_values, stored_feedback

LAST = 1_000
"""How many of the last decisions, and of the last rewards, are looked at apart."""
FEWEST = 100
"""Decisions below which no alarm is on."""
LEAST_ITEMS = 1.1
"""Effective number of items below which exploration has collapsed: with two candidates or more, a floor of .05 keeps it above."""
MOST_FAILED = 0.01
"""Share of the last decisions that may lack a part."""
STALLED = 20
"""So many times the usual number of decisions from reward to reward, without one, are a stalled stream."""


class Health(NamedTuple):
    """How a recommender does. What cannot be said yet is None.

    Attributes:
        decisions: in the folder, slates that were served again included.
        outcomes: places in slates, or whole pages, that have a reward.
        last_decision: its time, in seconds since the epoch.
        last_reward: time of the last signal; in a folder without a `feedback`, of the last reward.
        settled: decisions that were shown, and whose window has closed; in a folder without a `feedback`, all that were shown.
        join_rate: share of these of which a signal was heard in time; in a folder without a `feedback`, that have a reward.
        default_share: share of the outcomes of which nothing was heard; None without a `feedback`.
        mean_reward_last: of the last 1,000 outcomes.
        mean_reward_before: of all before.
        effective_items: exp of the entropy of the first position that was drawn, a mean over the last 1,000 decisions with a choice.
        candidates: how many could be drawn there, a mean over the same.
        floor_share: share of the items drawn by the policy in these decisions that had only their share of the floor.
        published: changes of what serves.
        model: version of the model that serves.
        policy: what decides.
        alarms: a sentence for each alarm that is on, with its threshold.
        failed: of the last 1,000 decisions, those that were made without a part that failed, by its name; see `recsdk.Fallback`.
    """

    decisions: int
    outcomes: int
    last_decision: float | None
    last_reward: float | None
    settled: int
    join_rate: float | None
    default_share: float | None
    mean_reward_last: float | None
    mean_reward_before: float | None
    effective_items: float | None
    candidates: float | None
    floor_share: float | None
    published: int
    model: str | None
    policy: str | None
    alarms: tuple[str, ...]
    failed: dict[str, int]


class _Heard(NamedTuple):
    """What came in about decisions: when, and of which places."""

    times: list[float]
    places: dict[str, list[tuple[int, float]]]


def health(stored: Ledger, *, min_join_rate: float = 0.01) -> Health:
    """Reads how a recommender does. Of each decision and reward a number stays in memory.

    Args:
        stored: its ledger, open for reading.
        min_join_rate: the join rate below which the alarm is on.
    """
    feedback, open_from = stored_feedback(stored), num_settled(stored)
    said = {signal.decision_id: signal.name == SHOWN for signal in stored.signals() if signal.name in (SHOWN, NOT_SHOWN)}
    standing = standing_values(stored.rewards())
    outcomes = list(standing.values())
    heard = _heard(stored, feedback)
    times, joined, silent = list[float](), list[bool](), 0
    last = deque[DecisionRecord](maxlen=LAST)
    for number, record in enumerate(stored.decisions()):
        times.append(record.time)
        if not len(record.action) or marks.read(record).repeats is not None:
            continue  # emptied, or another decision's slate
        last.append(record)
        if said.get(record.decision_id, not is_deferred(record)) and (open_from is None or number < open_from):
            places = _in_time(heard.places[record.decision_id], record, feedback) if record.decision_id in heard.places else set()
            joined.append(bool(places))
            if feedback is not None:
                silent += sum((record.decision_id, place) in standing for place in _silent(record, places, feedback))
    items, candidates, at_floor = _exploration(last)
    changes = published.read(stored)
    found = Health(
        decisions=len(times),
        outcomes=len(outcomes),
        last_decision=max(times, default=None),
        last_reward=max(heard.times, default=None),
        settled=len(joined),
        join_rate=_mean(joined),
        default_share=silent / len(outcomes) if feedback is not None and outcomes else None,
        mean_reward_last=_mean(outcomes[-LAST:]),
        mean_reward_before=_mean(outcomes[:-LAST]),
        effective_items=_mean(items),
        candidates=_mean(candidates),
        floor_share=_mean(at_floor),
        published=len(changes),
        model=changes[-1].model if changes else None,
        policy=changes[-1].policy if changes else None,
        alarms=(),
        failed=dict(sorted(Counter(part for record in last for part in marks.read(record).failed).items())),
    )
    return found._replace(alarms=tuple(_alarms(found, times, heard.times, len(items), len(last), min_join_rate)))


def _heard(stored: Ledger, feedback: Feedback | None) -> _Heard:
    """Returns the signals; where there is no feedback, the rewards that stand."""
    heard = _Heard([], defaultdict(list))
    if feedback is None:
        for reward in stored.rewards():
            if reward.replaces is None:
                heard.times.append(reward.time)
                heard.places[reward.decision_id].append((reward.position, reward.time))
        return heard
    for signal in stored.signals():
        if not signal.name.startswith("@"):
            heard.times.append(signal.time)
            heard.places[signal.decision_id].append((signal.position, signal.time))
    return heard


def _in_time(places: list[tuple[int, float]], record: DecisionRecord, feedback: Feedback | None) -> set[int]:
    return {place for place, time in places if feedback is None or feedback.late or time <= feedback.due(record)}


def _silent(record: DecisionRecord, places: set[int], feedback: Feedback) -> set[int]:
    """Returns the places of a decision of which nothing was heard."""
    if feedback.per == "page":
        return set() if places else {PAGE}
    return set() if PAGE in places else set(range(len(record.action))) - places


def _exploration(records: Iterable[DecisionRecord]) -> tuple[list[float], list[int], list[bool]]:
    """Returns effective items and candidates of each decision with a choice, and whether each drawn item had the floor's share only."""
    items, candidates, at_floor = list[float](), list[int](), list[bool]()
    for record in records:
        floor, is_first = stored_floor(record.parts), True
        for position, (action, probs) in enumerate(zip(record.action.tolist(), record.probs, strict=True)):
            num = int(marks.left(record, position).sum())
            if num < 2 or marks.undrawn(record, position) is not None:
                continue
            if is_first:
                drawn = probs[probs > 0]
                items.append(float(np.exp(-(drawn * np.log(drawn)).sum())))
                candidates.append(num)
                is_first = False
            if marks.is_of_the_policy(record) and floor:
                at_floor.append(bool(probs[action] <= floor / num * (1 + 1e-6)))
    return items, candidates, at_floor


def stored_floor(parts: str) -> float:
    """Returns the floor of the policy that made a decision, from the record's `parts`."""
    policy = json.loads(parts)["policy"]
    return float(policy["settings"].get("floor", 0)) if isinstance(policy, dict) else 0.0


def _alarms(found: Health, times: list[float], heard: list[float], num_choices: int, num_last: int, min_join_rate: float) -> Iterable[str]:
    if found.join_rate is not None and found.settled >= FEWEST and found.join_rate < min_join_rate:
        text = f"low join rate: {found.join_rate:.2%} of {found.settled:,} decisions were answered"
        yield f"{text}; the alarm is on below {min_join_rate:.2%}"
    if heard and len(times) >= FEWEST:
        came = np.searchsorted(np.sort(times), np.sort(heard), side="right")  # decisions before each
        since, usual = len(times) - int(came[-1]), max(int(came[-1]) / len(heard), 1.0)
        least = max(STALLED * usual, 2 * int(np.diff(came, prepend=0).max()))
        if since > least:
            yield f"reward stream stalled: {since:,} decisions since the last reward; the alarm is on above {least:,.0f}"
    if found.effective_items is not None and num_choices >= FEWEST and found.effective_items < LEAST_ITEMS:
        text = f"exploration collapsed: {found.effective_items:.3f} effective items"
        yield f"{text} in the last {num_choices:,} choices; the alarm is on below {LEAST_ITEMS}"
    for part, num in found.failed.items():
        if num_last >= FEWEST and num > MOST_FAILED * num_last:
            text = f"{part} failed: {num / num_last:.2%} of the last {num_last:,} decisions were made without it"
            yield f"{text}; the alarm is on above {MOST_FAILED:.0%}"


def _mean(values: Iterable[Any]) -> float | None:
    held = list(values)
    return float(np.mean(held)) if held else None
