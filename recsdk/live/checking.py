"""Whether a ledger is what it says: every record, their order, and what they mean together."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recsdk.errors import LedgerCorrupt, LedgerMismatch
from recsdk.ledger import PAGE, DecisionRecord, Ledger, Verifies, Whole
from recsdk.ledger.stores import store
from recsdk.live import base, marks
from recsdk.live.health import stored_floor
from recsdk.live.honesty import Honesty
from recsdk.live.rewards import num_settled

NUM_TOLD = 3
"""Problems of one check that are told; the rest is counted."""


class Finding(NamedTuple):
    """What one check found.

    Attributes:
        check: its name.
        num: records that it looked at.
        problems: the first few of them, in words; none when all is well.
        num_problems: of all.

    Example:
        >>> Finding("rewards", num=7).problems
        ()
    """

    check: str
    num: int
    problems: tuple[str, ...] = ()
    num_problems: int = 0


def check_ledger(folder: str | Path, *, ledger: Any = None) -> list[Finding]:
    """Reads all of a folder's ledger, and checks it. The recommender may be open; what it writes meanwhile is left out.

    * storage: what the kind of ledger can check itself: pages, and the hashes that chain the records;
    * records: each has the checksum that it was written with;
    * decisions: probabilities are a distribution over the candidates that were left, and the shown items had one above zero and, under a
      floor, at least its share; no item twice; what had been learned never goes back, nor beyond the rewards;
    * items: every shown one was in the catalogue;
    * rewards: each is of a shown position, and only one of a position counts;
    * signals: each is about a shown position;
    * settled: every decision whose window has closed has its rewards, and no other;
    * snapshot: it can be read, and is not ahead of the rewards. That it is their fold, `recsdk.live.reproduce.reproduce` tells;
    * propensities: items were drawn as often as the logged probabilities say, see `recsdk.live.honesty`.

    Args:
        folder: the recommender's.
        ledger: the kind of ledger, by name or as a config; None looks which installed one the folder holds.

    Returns:
        A finding for each check.

    Raises:
        LedgerCorrupt: a ledger that is too damaged to be opened.
        LedgerError: when there is no ledger in the folder.

    Example:
        >>> import recsdk
        >>> with recsdk.Recommender.open("kiln", items=[{"id": "cup"}, {"id": "jug"}]) as kiln:
        ...     _ = kiln.reward(kiln.recommend({}).decision_id, 1.0)
        >>> [finding.check for finding in check_ledger("kiln") if finding.num_problems]
        []
    """
    kind = store(folder, ledger)
    with contextlib.closing(kind.read(folder)) as stored:
        checks: dict[str, Callable[[Ledger, _Problems], int]] = {"records": _records}
        if isinstance(kind, Verifies):
            checks = {"storage": lambda _, problems: _storage(kind, folder, problems), **checks}
        findings = [_finding(name, check, stored) for name, check in checks.items()]
        if any(finding.num_problems for finding in findings):
            return findings  # what cannot be read has no meaning to be checked
        honesty = Honesty()
        rest: dict[str, Callable[[Ledger, _Problems], int]] = {
            "decisions": lambda ledger, problems: _decisions(ledger, problems, honesty),
            "items": _items, "rewards": _rewards, "signals": _signals, "settled": _settled, "snapshot": _snapshot,
            "propensities": lambda _, problems: _propensities(honesty, problems),
        }  # fmt: skip
        return findings + [_finding(name, check, stored) for name, check in rest.items()]


class _Problems:
    """The problems that a check found: the first in words, all of them counted."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.num = 0

    def add(self, told: str) -> None:
        self.num += 1
        if len(self.told) < NUM_TOLD:
            self.told.append(told)


def _finding(name: str, check: Callable[[Ledger, _Problems], int], stored: Ledger) -> Finding:
    problems, num = _Problems(), 0
    try:
        num = check(stored, problems)
    except LedgerCorrupt as error:
        problems.add(str(error))
    return Finding(name, num, tuple(problems.told), problems.num)


def _storage(kind: Verifies, folder: str | Path, problems: _Problems) -> int:
    verified = kind.verify(folder)
    for told in verified.problems:
        problems.add(told)
    return verified.num_records


def _records(stored: Ledger, problems: _Problems) -> int:
    del problems  # the readers raise
    return sum(1 for read in (stored.decisions, stored.rewards, stored.signals, stored.items) for _ in read())


def _decisions(stored: Ledger, problems: _Problems, honesty: Honesty) -> int:
    num, learned, last = 0, 0, stored.num_rewards()
    floors: dict[str, float] = {}
    for record in stored.decisions():
        num += 1
        if record.parts not in floors:
            floors[record.parts] = stored_floor(record.parts)
        for told in _wrong(record, floors[record.parts]):
            problems.add(f"decision {record.decision_id!r}: {told}")
        may_be_local = bool(marks.read(record).local) or not len(
            record.action
        )  # another process knew less; of an emptied one nobody can tell
        if not (0 if may_be_local else learned) <= record.num_learned <= last:
            problems.add(
                f"decision {record.decision_id!r}: {record.num_learned} rewards were learned, after {learned} before it, of {last} in all"
            )
        learned = max(learned, record.num_learned)
        _count(record, honesty)
    return num


def _wrong(record: DecisionRecord, floor: float) -> Iterator[str]:
    num_candidates, num_shown = len(record.slots), len(record.action)
    if len(record.features) not in (num_candidates, num_shown):
        yield f"features of {len(record.features)} items, of {num_candidates} candidates and {num_shown} shown"
    if len(set(record.slots.tolist())) < num_candidates or len(set(record.action.tolist())) < num_shown:
        yield "an item is there twice"
    if record.probs.shape != (num_shown, num_candidates) or not ((record.action >= 0) & (record.action < num_candidates)).all():
        yield "probabilities or shown items are not of its candidates"
        return
    chosen = record.probs[np.arange(num_shown), record.action]
    if not (record.probs >= 0).all() or not np.allclose(record.probs.sum(axis=1), 1, rtol=0, atol=1e-9):
        yield "probabilities are not a distribution"
    if not (chosen > 0).all():
        yield "an item is shown that had the probability 0"
    if any(record.probs[position, ~marks.left(record, position)].any() for position in range(num_shown)):
        yield "an item had a probability where it could not be shown"
    least = floor / np.arange(num_candidates, num_candidates - num_shown, -1)  # fewer may have been left than these, and then it was more
    if marks.is_of_the_policy(record) and not (chosen >= least * (1 - 1e-9)).all():
        yield f"an item is shown that had less than its share of the floor {floor}"


def _count(record: DecisionRecord, honesty: Honesty) -> None:
    """Counts the draws of a decision, but for what makes no sense and is told anyway."""
    for position, (action, probs) in enumerate(zip(record.action.tolist(), record.probs, strict=True)):
        left = marks.left(record, position)
        if marks.undrawn(record, position) is None and left[action]:
            honesty.add(probs[left], int(left[:action].sum()), record.slots[left])


def _items(stored: Ledger, problems: _Problems) -> int:
    held = {item.slot for item in stored.items()}
    for record in stored.decisions():
        for slot in record.slots.tolist():
            if slot not in held:
                problems.add(f"decision {record.decision_id!r}: its candidate in slot {slot} was never in the catalogue")
    return len(held)


def _rewards(stored: Ledger, problems: _Problems) -> int:
    num, places, replaced = 0, Counter[tuple[str, int]](), set()
    for reward, decision in stored.outcomes():
        num += 1
        if not len(decision.action):  # its user is forgotten
            continue
        if reward.replaces is None:
            places[decision.decision_id, reward.position] += 1
        elif reward.replaces in replaced:
            problems.add(f"reward {reward.reward_id!r}: {reward.replaces!r} was replaced before")
        replaced.add(reward.replaces)
        if not PAGE <= reward.position < len(decision.action):
            problems.add(f"reward {reward.reward_id!r}: decision {decision.decision_id!r} has no position {reward.position}")
        if not np.isfinite(reward.value):
            problems.add(f"reward {reward.reward_id!r} is {reward.value}")
    for place, times in places.items():
        if times > 1:
            problems.add(f"position {place[1]} of decision {place[0]!r} has {times} rewards that count")
    return num


def _signals(stored: Ledger, problems: _Problems) -> int:
    sizes = {record.decision_id: len(record.action) for record in stored.decisions()}
    num = 0
    for signal in stored.signals():
        num += 1
        if not PAGE <= signal.position < sizes.get(signal.decision_id, PAGE):
            problems.add(f"signal {signal.signal_id!r}: decision {signal.decision_id!r} has no position {signal.position}")
    return num


def _settled(stored: Ledger, problems: _Problems) -> int:
    """A decision that is not settled has no rewards, where a feedback makes them."""
    settled = num_settled(stored)
    if settled is None:
        return 0
    for record in stored.decisions(settled):
        if stored.rewards_of(record.decision_id):
            problems.add(f"decision {record.decision_id!r} has rewards, and its window is open")
    return settled


def _snapshot(stored: Ledger, problems: _Problems) -> int:
    names = ["salt", "made", "snapshot/header", "snapshot/policy"]
    states = [name for name in stored.names() if name.startswith(f"{base.BASE}/")] if isinstance(stored, Whole) else []
    found = {name: stored.get(name) for name in (*names, *states)}  # a wrong checksum raises
    if base.header_of(stored) and stored.get(f"{base.BASE}/policy") is None:
        problems.add("what was learned of the rewards that were dropped is lost")
    try:
        header = json.loads(found["snapshot/header"] or '{"num_learned": 0}')
    except ValueError as error:
        raise LedgerMismatch(f"The snapshot's header is no JSON: {error}.") from error
    if header["num_learned"] > stored.num_rewards():
        problems.add(f"the snapshot is ahead: of reward {header['num_learned']:,}, where there are {stored.num_rewards():,}")
    if found["made"] is not None and found["salt"] is None:
        problems.add("the secret of the draws is lost")
    return sum(data is not None for data in found.values())


def _propensities(honesty: Honesty, problems: _Problems) -> int:
    for lie in honesty.lies():
        problems.add(f"{lie.what}: {lie.expected:,.1f} expected, +- {lie.allowed:,.1f} by chance, {lie.found:,.1f} found")
    return honesty.num_draws
