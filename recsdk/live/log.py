"""The ledger as a log, and as the policy that learned from it: for replay, off-policy evaluation and audits.

Reads beside a running recommender.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recsdk import states
from recsdk.arrays import stack_rounds
from recsdk.base import Context, Forgettable, Interaction
from recsdk.checks import require_integer, require_number
from recsdk.errors import EmptyLog, InvalidValue, LedgerMismatch, OpenDecisions, UnfitDecisions, warn
from recsdk.ledger import PAGE, DecisionRecord, Ledger
from recsdk.ledger.stores import store
from recsdk.live import base, intake, layout, made
from recsdk.live.identity import differences
from recsdk.live.interactions import after
from recsdk.live.marks import left, unfit
from recsdk.live.rewards import is_deferred, num_settled, said_shown, standing_values, stored_feedback
from recsdk.policies.wrappers import WithFloor


class Learned(NamedTuple):
    """A policy with what it has learned.

    Attributes:
        policy: with its floor, as it was live.
        state: consumed by `replay` and `recsdk.ope.evaluate`: read it again for another run.

    Example:
        >>> import recsdk
        >>> with recsdk.Recommender.open("inn", items=[{"id": "tea"}, {"id": "coffee"}], policy="lin-ts") as inn:
        ...     pass
        >>> recsdk.read_policy("inn", "lin-ts").policy.floor
        0.05
    """

    policy: Any
    state: Any


class Judging(NamedTuple):
    """Which decisions count, and what they earned, as `read_ledger` explains it.

    Attributes:
        default_reward: of a decision without a reward.
        window: seconds that a reward may take.
    """

    default_reward: float | None = None
    window: float | None = None


def read_ledger(
    folder: str | Path, *, position: int = 0, default_reward: float | None = None, window: float | None = None, ledger: Any = None
) -> Interaction:
    """Reads what was decided at one position of every slate, and what it earned, from a recommender's folder.

    The recommender must have been opened with `log_features="all"`. Every row has its own true propensity: at the first position that of
    a single choice, below it that of the choice among what was left, given what stands above. The features are phi in the folder's present
    columns; where a decision was made without one of them, or with another encoder, it is 0. Rewards are as they were corrected last.
    Decisions that were not shown are left out. The reward of a whole page is one outcome, and stands at the top position.

    Args:
        folder: the recommender's; it may be open.
        position: from 0, the top; decisions with shorter slates are left out. Give it to `recsdk.ope.evaluate`, too, which cannot see it in
            the log.
        default_reward: what a decision without a reward is worth; None leaves such decisions out. Give a `window` with it.
        window: seconds that a reward may take to arrive. Decisions that were younger at the last event of the ledger are left out, since
            they may still be rewarded; 0 keeps all. A folder with a `feedback` has its own window.
        ledger: the kind of ledger, by name or as a config; None looks which installed one the folder holds.

    Returns:
        A log of T rounds, oldest first, padded to the largest number of candidates.

    Raises:
        InvalidValue: a window below 0, or for a folder that has a `feedback`.
        EmptyLog: when no decision is left.
        LedgerMismatch: when the ledger has kept the features of the shown candidates only.
        LedgerCorrupt: when a record is not what was written.
        LedgerError: when there is no ledger in the folder.

    Warns:
        OpenDecisions: a `default_reward` without a `window` in a folder without a `feedback`: rewards on their way count as missing.
        UnfitDecisions: how many are left out since nothing was drawn there: pinned, chosen by the application, or served again; and how
            many were dropped by their age.

    Example:
        >>> import recsdk
        >>> with recsdk.Recommender.open("cafe", items=[{"id": "tea"}, {"id": "coffee"}], log_features="all") as cafe:
        ...     for reward in (0.0, 1.0):
        ...         shown = cafe.recommend({})
        ...         _ = cafe.reward(shown.decision_id, reward)
        >>> recsdk.read_ledger("cafe").reward
        array([0., 1.])
    """
    (log,) = _chunks(folder, position, default_reward, window, None, ledger)
    return log


def read_ledger_chunks(
    folder: str | Path,
    *,
    position: int = 0,
    default_reward: float | None = None,
    window: float | None = None,
    num_rows: int = 10_000,
    ledger: Any = None,
) -> Iterator[Interaction]:
    """Reads the same log part by part, for `recsdk.ope.accumulate`, where memory does not hold it: of that only the rewards.

    Args:
        folder: as for `read_ledger`; what is decided meanwhile is left out.
        position: as for `read_ledger`.
        default_reward: as for `read_ledger`.
        window: as for `read_ledger`.
        num_rows: rounds of a chunk, which is padded to its own largest number of candidates.
        ledger: as for `read_ledger`.

    Raises:
        InvalidValue, EmptyLog, LedgerMismatch, LedgerCorrupt, LedgerError: as `read_ledger`.

    Warns:
        OpenDecisions, UnfitDecisions: as `read_ledger`.

    Example:
        >>> import recsdk
        >>> with recsdk.Recommender.open("kiosk", items=[{"id": "tea"}, {"id": "coffee"}], log_features="all") as kiosk:
        ...     for _ in range(5):
        ...         _ = kiosk.reward(kiosk.recommend({}).decision_id, 1.0)
        >>> [len(chunk.reward) for chunk in read_ledger_chunks("kiosk", num_rows=2)]
        [2, 2, 1]
    """
    require_integer("num_rows", num_rows, at_least=1)
    yield from _chunks(folder, position, default_reward, window, num_rows, ledger)


def _chunks(
    folder: str | Path, position: int, default_reward: float | None, window: float | None, num_rows: int | None, ledger: Any
) -> Iterator[Interaction]:
    require_integer("position", position, at_least=0)
    if default_reward is not None:
        require_number("default_reward", default_reward)
    with contextlib.closing(store(folder, ledger).read(folder)) as stored:
        judging, left_out = Judging(default_reward, window), Counter[str]()
        warn_of_open(stored, judging)
        wanted = judged(stored, position, judging, left_out)
        chunk = list(itertools.islice(wanted, num_rows))
        if not chunk:
            rewarded, but = "rewarded " * (default_reward is None), f" but for {_told(left_out)}" if left_out else ""
            told = [f"The ledger in {str(folder)!r} has no {rewarded}decision with a position {position}{but}."]
            raise EmptyLog(" ".join([*told, *_remedies(stored, position, default_reward, window)]))
        placed = placing(stored)
        while chunk:
            yield stack_rounds(_round(placed(record), position, value) for record, value in chunk)
            chunk = list(itertools.islice(wanted, num_rows))
        warn_of_dropped(stored)
        if left_out:
            text = f"Left out at position {position}, since nothing was drawn there: {_told(left_out)}"
            warn(f"{text}. They say nothing about another policy.", UnfitDecisions)


def warn_of_dropped(stored: Ledger) -> None:
    """Says where the log does not begin with the folder."""
    found = base.horizon(stored)
    if found.num_decisions:
        text = f"{found.num_decisions:,} decisions, of up to {_time(found.until)}, were dropped by their age"
        warn(f"{text}: this log has the others.", UnfitDecisions)


def warn_of_open(stored: Ledger, judging: Judging) -> None:
    """Warns where a default reward would be given to decisions that may still be rewarded."""
    if judging.default_reward is not None and judging.window is None and num_settled(stored) is None:
        text = f"default_reward={judging.default_reward} counts every reward that is still on its way as missing: say by window=..."
        warn(f"{text} how many seconds a reward may take, 0 if none can arrive any more.", OpenDecisions)


def judged(stored: Ledger, position: int, judging: Judging, left_out: Counter[str]) -> Iterator[tuple[DecisionRecord, float]]:
    """Yields the decisions that say what is good at a position, each with its reward there, and counts why others are left out."""
    rewards = rewards_at(stored, position)
    for record in _fit(_counting(stored, judging.window, position), position, left_out):
        value = rewards.get((record.decision_id, position), judging.default_reward)
        if value is not None:
            yield record, float(value)


def judged_positions(
    stored: Ledger, judging: Judging, rewards: Mapping[tuple[str, int], float]
) -> Iterator[tuple[DecisionRecord, list[int]]]:
    """Yields, in one reading, the decisions that `judged` yields at any position, each with all of these positions.

    Args:
        stored: its ledger.
        judging: which decisions count.
        rewards: of `rewards_at` all positions.
    """
    says = _saying(stored)
    for record in _shown(stored, judging.window):
        drawn = [position for position in range(len(record.action)) if says(record, position) and unfit(record, position) is None]
        found = [position for position in drawn if rewards.get((record.decision_id, position), judging.default_reward) is not None]
        if found:
            yield record, found


def _fit(records: Iterable[DecisionRecord], position: int, left_out: Counter[str]) -> Iterator[DecisionRecord]:
    """Yields the decisions with a position that was drawn, and counts why the others are left out."""
    for record in records:
        if len(record.action) > position:
            reason = unfit(record, position)
            if reason is None:
                yield record
            else:
                left_out[reason] += 1


def _remedies(stored: Ledger, position: int, default_reward: float | None, window: float | None) -> Iterator[str]:
    """Yields why there may be nothing to read, and what to do."""
    feedback, records = stored_feedback(stored), list(stored.decisions())
    waiting = [record.time for record in records[num_settled(stored) :]] if feedback is not None else []
    if feedback is not None and waiting:
        first, last = (_time(time + feedback.window) for time in (min(waiting), max(waiting)))
        yield f"{len(waiting):,} decisions wait for rewards: their windows close from {first} to {last}, while the recommender is open."
    drawn = Counter(place for record in records for place in range(len(record.action)) if unfit(record, place) is None)
    if drawn and not drawn[position]:
        other = min(drawn)
        yield f"In {drawn[other]:,} decisions the item at position {other} was drawn: give position={other} (--position {other})."
    elif drawn[position] and feedback is None and default_reward is None:
        yield "Where a decision without a reward is worth something, give default_reward and window (--default-reward, --window)."
    elif window:
        yield f"Decisions that were younger than window={window:g} seconds at the last event are left out."


def _time(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(" ", "seconds")


def _told(left_out: Counter[str]) -> str:
    return " and ".join(f"{number:,} {reason}" for reason, number in sorted(left_out.items()))


def rewards_at(stored: Ledger, position: int | None) -> dict[tuple[str, int], float]:
    """Returns the reward of every decision at one position, or at each for None, as it was corrected last.

    That of a whole page stands at the top, once.
    """
    there = standing_values(reward for reward in stored.rewards() if position in (None, max(reward.position, 0)))
    return {(decision_id, max(place, 0)): value for (decision_id, place), value in there.items()}


def _counting(stored: Ledger, window: float | None, position: int) -> Iterator[DecisionRecord]:
    """Yields the decisions that get no more rewards, were shown, and have a position of which something can be said."""
    says = _saying(stored) if position else lambda record, position: True
    return (record for record in _shown(stored, window) if len(record.action) > position and says(record, position))


def _saying(stored: Ledger) -> Callable[[DecisionRecord, int], bool]:
    """Returns what tells whether something can be said of a position: below the top not where the whole page has one reward."""
    feedback = stored_feedback(stored)
    if feedback is not None and feedback.per == "page":
        return lambda record, position: position == 0
    whole = {reward.decision_id for reward in stored.rewards() if reward.position == PAGE}
    return lambda record, position: position == 0 or record.decision_id not in whole


def _shown(stored: Ledger, window: float | None) -> Iterator[DecisionRecord]:
    """Yields the decisions that get no more rewards, and were shown."""
    said = said_shown(stored.signals())
    for record in _settled(stored, window):
        if said.get(record.decision_id, not is_deferred(record)):
            yield record


def _settled(stored: Ledger, window: float | None) -> Iterator[DecisionRecord]:
    """Yields the decisions that get no more rewards."""
    settled = num_settled(stored)
    if window is None:
        return itertools.islice(stored.decisions(), settled)
    require_number("window", window, at_least=0)
    if settled is not None:
        raise InvalidValue(f"window must be None for a folder with a feedback, which says when its decisions are settled, got {window}.")
    decided, rewarded = (record.time for record in stored.decisions()), (record.time for record in stored.rewards())
    last = max(itertools.chain(decided, rewarded), default=0.0)
    return (record for record in stored.decisions() if record.time + window <= last)


def count_decisions(folder: str | Path, *, position: int = 0, window: float | None = None, ledger: Any = None) -> int:
    """Returns how many decisions have drawn such a position, with a reward or without: what `recsdk.ope.evaluate` compares a log with.

    Arguments are those of `read_ledger`.

    Raises:
        LedgerCorrupt: when a record is not what was written.
        LedgerError: when there is no ledger in the folder.

    Example:
        >>> import recsdk
        >>> with recsdk.Recommender.open("bar", items=[{"id": "tea"}, {"id": "coffee"}]) as bar:
        ...     for _ in range(3):
        ...         _ = bar.recommend({})
        >>> count_decisions("bar")
        3
    """
    require_integer("position", position, at_least=0)
    with contextlib.closing(store(folder, ledger).read(folder)) as stored:
        return sum(1 for _ in _fit(_counting(stored, window, position), position, Counter()))


def read_policy(folder: str | Path, policy: Any = "wide-deep", *, floor: float = 0.05, ledger: Any = None) -> Learned:
    """Reads what a recommender's policy has learned until now, as the target of an evaluation. The recommender may be open.

    Evaluate it on rounds that it has not learned from: on those it has, it looks better than it is.

    Args:
        folder: the recommender's; it must hold a snapshot of this policy, which `Recommender.snapshot` and `close` write.
        policy: as given to `Recommender.open`.
        floor: as given to `Recommender.open`.
        ledger: as for `read_ledger`.

    Raises:
        LedgerMismatch: no snapshot of this policy with this floor.
        LedgerCorrupt: when a record or the snapshot is not what was written.
        LedgerError: when there is no ledger in the folder.
        PluginError, UnknownPlugin, InvalidValue: a policy that cannot be had.

    Example:
        >>> import recsdk
        >>> with recsdk.Recommender.open("stall", items=[{"id": "tea"}, {"id": "coffee"}], policy="lin-ucb") as stall:
        ...     _ = stall.reward(stall.recommend({}).decision_id, 1.0)
        >>> learned = recsdk.read_policy("stall", "lin-ucb")
        >>> learned.policy.policy
        LinUCB(alpha=0.5, ridge=1.0)
    """
    require_number("floor", floor, at_least=0, at_most=1)
    chosen = intake.policy(policy)
    chosen = WithFloor(policy=chosen, floor=floor) if floor else chosen
    with contextlib.closing(store(folder, ledger).read(folder)) as stored:
        header, snapshot = json.loads(stored.get("snapshot/header") or "{}"), stored.get("snapshot/policy")
        changes = ["there is none"] if snapshot is None else differences(header["policy"], chosen)
        if snapshot is None or changes:
            raise LedgerMismatch(
                f"The ledger in {str(folder)!r} must hold a snapshot of {chosen!r}: {'; '.join(changes)}. "
                "Ask for the policy that the folder was last opened with, or open it with this one and call `snapshot`."
            )
        template = chosen.init(np.zeros(1))
        state = states.loads(chosen, template, snapshot)
        states.close(chosen, template)
        placed = placing(stored, header.get("phi"), refusing=True)
        for reward, record in stored.outcomes(header["num_learned"]):
            earlier = None if reward.replaces is None else stored.reward(reward.replaces)
            if earlier is not None and not isinstance(chosen, Forgettable):
                raise LedgerMismatch(f"A reward was corrected after the snapshot, which {chosen!r} cannot forget: call `snapshot`.")
            state = after(chosen, state, placed(record), reward, earlier)
    return Learned(chosen, state)


def placing(stored: Ledger, phi: Any = None, *, refusing: bool = False) -> Callable[[DecisionRecord], DecisionRecord]:
    """Returns what puts a decision's phi into one layout: `phi`, or the one that the folder has now."""
    if made.is_of_first_schema(stored):
        return lambda record: record  # an older recsdk, to which all decisions of a folder had one phi
    known: Any = made.read(stored)
    new = known.layout if phi is None else layout.from_json(phi)

    def placed(record: DecisionRecord) -> DecisionRecord:
        old = layout.read(record.parts, record.features.shape[1], known.columns)
        if refusing and new.dim and old.version != new.version:
            raise LedgerMismatch(
                f"A reward came after the snapshot for decision {record.decision_id!r}, made with another encoder: call `snapshot`."
            )
        return record._replace(features=layout.moved(record.features, old, new))

    return placed


def _round(record: DecisionRecord, position: int, reward: float) -> Interaction:
    """Returns the choice at one position, among what the positions above it have left."""
    require_all_features(record)
    action = record.action[position]
    context = Context(np.asarray(record.features, np.float64), left(record, position), np.asarray(record.slots, np.int64))
    return Interaction(context, int(action), reward, float(record.probs[position, action]), 1.0)


def require_all_features(record: DecisionRecord) -> None:
    """Refuses a decision that has not kept the features of all of its candidates."""
    if len(record.features) != len(record.slots):
        raise LedgerMismatch(
            f"Decision {record.decision_id!r} has kept the features of its shown candidates only: "
            "open the recommender with log_features='all' to evaluate other policies."
        )
