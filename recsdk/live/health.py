"""How a recommender does, read from its folder: whether feedback comes in, whether it still explores, and alarms when not."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from recsdk.ledger import PAGE, DecisionRecord, Ledger, RewardRecord, Whole
from recsdk.live import alarms, marks, published, tally
from recsdk.live.drift import Drift
from recsdk.live.rewards import NOT_SHOWN, SHOWN, Feedback, is_deferred, num_settled, standing_values, stored_feedback
from recsdk.live.shares import Shares, TrafficReport

LAST = 1_000
"""How many of the last decisions, and of the last rewards, are looked at apart."""


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
        traffic: who decided.
        drift: population stability index of each feature, of requests and items; see `recsdk.live.drift`.
        events: what became of the last 1,000 rewards and signals that were told, as of the last snapshot.
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
    traffic: TrafficReport
    drift: dict[str, float]
    events: dict[str, int]


class _Heard(NamedTuple):
    """What came in about decisions: when, and of which places."""

    times: list[float]
    places: dict[str, list[tuple[int, float]]]


def health(stored: Ledger, *, min_join_rate: float = 0.01, now: float | None = None) -> Health:
    """Reads how a recommender does, each record once. Of each decision and reward a number stays in memory.

    Args:
        stored: its ledger, open for reading.
        min_join_rate: the join rate below which the alarm is on.
        now: seconds since the epoch; None for this machine's clock.
    """
    feedback, open_from = stored_feedback(stored), num_settled(stored)
    heard, said = _heard(stored, feedback)
    standing = standing_values(stored.rewards() if feedback is not None else _noted(stored.rewards(), heard))
    outcomes = list(standing.values())
    times, joined, silent = list[float](), list[bool](), 0
    last, shares, drift = deque[DecisionRecord](maxlen=LAST), Shares(), Drift()
    for record in stored.events() if isinstance(stored, Whole) else stored.decisions():
        if not isinstance(record, DecisionRecord):
            drift.add(record)
            continue
        number = len(times)
        times.append(record.time)
        shares.add(record)
        if not len(record.action) or marks.read(record).repeats is not None:
            continue  # emptied, or another decision's slate
        drift.add(record)
        last.append(record)
        if said.get(record.decision_id, not is_deferred(record)) and (open_from is None or number < open_from):
            places = _in_time(heard.places[record.decision_id], record, feedback) if record.decision_id in heard.places else set()
            joined.append(bool(places))
            if feedback is not None:
                silent += sum((record.decision_id, place) in standing for place in _silent(record, places, feedback))
    items, candidates, at_floor = exploration(last)
    changes, drifted = published.read(stored), drift.found()
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
        floor_share=_mean(hit for hit, _ in at_floor),
        published=len(changes),
        model=changes[-1].model if changes else None,
        policy=changes[-1].policy if changes else None,
        alarms=(),
        failed=dict(sorted(Counter(part for record in last for part in marks.read(record).failed).items())),
        traffic=shares.report(standing),
        drift={name: one.psi for name, one in drifted.items()},
        events=tally.read(stored),
    )
    newest = max(found.last_decision or 0.0, found.last_reward or 0.0)
    told = (
        alarms.of_joins(found.join_rate, found.settled, min_join_rate),
        alarms.of_stream(times, heard.times),
        alarms.of_exploration(found.effective_items, len(items)),
        alarms.of_parts(found.failed, len(last)),
        alarms.of_floor(at_floor),
        alarms.of_drift(drifted),
        alarms.of_clocks(times[-LAST:], newest, time.time() if now is None else now),
        alarms.of_events(found.events),
    )
    return found._replace(alarms=tuple(itertools.chain.from_iterable(told)))


def _heard(stored: Ledger, feedback: Feedback | None) -> tuple[_Heard, dict[str, bool]]:
    """Returns the signals of which a feedback makes rewards, and of which decisions it was said whether they were shown."""
    heard, said = _Heard([], defaultdict(list)), dict[str, bool]()
    for signal in stored.signals():
        if signal.name in (SHOWN, NOT_SHOWN):
            said[signal.decision_id] = signal.name == SHOWN
        elif feedback is not None and not signal.name.startswith("@"):
            heard.times.append(signal.time)
            heard.places[signal.decision_id].append((signal.position, signal.time))
    return heard, said


def _noted(rewards: Iterable[RewardRecord], heard: _Heard) -> Iterator[RewardRecord]:
    """Yields rewards, and notes them as what was heard, but for corrections."""
    for reward in rewards:
        if reward.replaces is None:
            heard.times.append(reward.time)
            heard.places[reward.decision_id].append((reward.position, reward.time))
        yield reward


def _in_time(places: list[tuple[int, float]], record: DecisionRecord, feedback: Feedback | None) -> set[int]:
    return {place for place, time in places if feedback is None or feedback.late or time <= feedback.due(record)}


def _silent(record: DecisionRecord, places: set[int], feedback: Feedback) -> set[int]:
    """Returns the places of a decision of which nothing was heard."""
    if feedback.per == "page":
        return set() if places else {PAGE}
    return set() if PAGE in places else set(range(len(record.action))) - places


def exploration(records: Iterable[DecisionRecord]) -> tuple[list[float], list[int], list[tuple[bool, float]]]:
    """Returns effective items and candidates of each decision with a choice; and of each draw, whether it hit the floor, and how probably.

    It hits the floor when the drawn item had the floor's share only.
    """
    items, candidates, at_floor = list[float](), list[int](), list[tuple[bool, float]]()
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
                is_least = probs <= floor / num * (1 + 1e-6)
                at_floor.append((bool(is_least[action]), float(probs[is_least].sum())))
    return items, candidates, at_floor


def stored_floor(parts: str) -> float:
    """Returns the floor of the policy that made a decision, from the record's `parts`."""
    policy = json.loads(parts)["policy"]
    return float(policy["settings"].get("floor", 0)) if isinstance(policy, dict) else 0.0


def _mean(values: Iterable[Any]) -> float | None:
    held = list(values)
    return float(np.mean(held)) if held else None
