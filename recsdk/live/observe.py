"""Observers: functions that are told what the live loop has done.

`Recommender.open(observer=...)` takes any function of one argument. It is called after the fact, with the records below, in the thread
whose call it was, and by one thread at a time: keep it short. It must not call the recommender. What it raises is caught, logged, and
counted in `Recommender.num_observer_errors`; the loop goes on.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import attrs

from recsdk.live.published import Published

LOGGER = logging.getLogger("recsdk")


class Decided(NamedTuple):
    """A decision that is in the ledger.

    Attributes:
        decision_id: its name.
        user: the user's key, or None.
        num_candidates: K, from which it was chosen.
        size: L, how many items are shown.
        seconds: how long it took.
        failed: names of the parts that it was made without, since they failed or rest; see `recsdk.Fallback`.

    Example:
        >>> Decided("d1", "ann", num_candidates=100, size=5, seconds=0.001).size
        5
    """

    decision_id: str
    user: str | None
    num_candidates: int
    size: int
    seconds: float
    failed: tuple[str, ...] = ()


class Failed(NamedTuple):
    """A part that failed while a decision was made or a signal taken, see `recsdk.Fallback`.

    Attributes:
        part: "encoder", "retriever", "policy", "holdout", or "scorer:" and the first of its columns; "learning" where a part did not learn
            from windows that had closed: they stay open, and are tried again.
        reason: "late", or "error" for what it raised and for an answer that it may not give.
        error: what was raised, in words.
        in_a_row: how often it has failed since it last answered.
        rests: whether it is not asked any more for a time.

    Example:
        >>> Failed("scorer:price", "late", "Late: no answer within 0.05 s", in_a_row=5, rests=True).rests
        True
    """

    part: str
    reason: str
    error: str
    in_a_row: int
    rests: bool


class Rewarded(NamedTuple):
    """Rewards of a decision that are in the ledger and learned, or were there before.

    Attributes:
        decision_id: whose rewards.
        num_new: rewards that are new; 0 when all had been taken before.
        total: sum of the new ones.
        user: the user's key of the decision, or None.

    Example:
        >>> Rewarded("d1", num_new=2, total=1.0).total
        1.0
    """

    decision_id: str
    num_new: int
    total: float
    user: str | None = None


class Signalled(NamedTuple):
    """A signal that was told, or that a decision was shown or not; and a signal that has waited for its decision, once more.

    Attributes:
        name: which kind of signal; "@shown" and "@not_shown" for decisions.
        receipt: what became of it, the text of a `recsdk.Receipt`.
        delay: seconds from when it happened, by the application's clock, until it was told; below 0 where that clock is ahead.

    Example:
        >>> Signalled("click", "taken", delay=0.0).receipt
        'taken'
    """

    name: str
    receipt: str
    delay: float


class Corrected(NamedTuple):
    """A correction of an earlier signal or reward.

    Attributes:
        event_id: id of the signal or reward that is corrected.
        receipt: what became of it, the text of a `recsdk.Receipt`.
        num_rewards: rewards that were corrected for it, and learned anew; 0 before the window has closed.
        user: the user's key of their decision, or None.

    Example:
        >>> Corrected("order-17", "taken", num_rewards=1).num_rewards
        1
    """

    event_id: str
    receipt: str
    num_rewards: int
    user: str | None = None


class Snapshotted(NamedTuple):
    """A snapshot that is in the ledger.

    Attributes:
        num_learned: rewards that its state has been folded over.
        seconds: how long it took.

    Example:
        >>> Snapshotted(num_learned=10_000, seconds=0.01).num_learned
        10000
    """

    num_learned: int
    seconds: float


class Recovered(NamedTuple):
    """A state that was made from the ledger: at opening, and after a failure.

    Attributes:
        num_learned: rewards that it has been folded over.
        seconds: how long it took.

    Example:
        >>> Recovered(num_learned=10_000, seconds=0.5).seconds
        0.5
    """

    num_learned: int
    seconds: float


Notice = Decided | Failed | Rewarded | Signalled | Corrected | Snapshotted | Recovered | Published
Observer = Callable[[Notice], Any]
"""An observer: the type of `Recommender.open(observer=...)`."""


@attrs.frozen(kw_only=True)
class LogObserver:
    """Writes every record to a logger: snapshots, recoveries and changes of what serves at the level "info", the others at "debug".

    Parts that fail are written to the logger "recsdk" without an observer, too: a first failure, and the last before a part rests.

    Attributes:
        logger: name of the logger.

    Example:
        >>> LogObserver()(Recovered(num_learned=3, seconds=0.5))  # "recovered: num_learned=3, seconds=0.5"
    """

    logger: str = "recsdk"

    def __call__(self, notice: Notice) -> None:
        """Writes one record."""
        level = logging.INFO if isinstance(notice, (Snapshotted, Recovered, Published)) else logging.DEBUG
        fields = ", ".join(f"{name}={value!r}" for name, value in notice._asdict().items())
        logging.getLogger(self.logger).log(level, "%s: %s", type(notice).__name__.lower(), fields)


class CountObserver:
    """Counts records by kind, and sums up their rewards and seconds; for tests, and to be read by a monitor.

    Attributes:
        counts: records of each kind; signals also by name and by what became of them, such as "signalled.click.late"; failures also by part
            and reason, "failed.encoder.late"; decisions also by the parts that they were made without, "decided.without.encoder".
        sums: of `seconds` of each kind, and of `total` and `num_new` of rewards.

    Example:
        >>> observer = CountObserver()
        >>> observer(Decided("d1", None, num_candidates=3, size=1, seconds=0.5))
        >>> observer.counts["decided"], observer.sums["decided.seconds"]
        (1, 0.5)
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.sums: Counter[str] = Counter()

    def __call__(self, notice: Notice) -> None:
        """Counts one record."""
        kind = type(notice).__name__.lower()
        self.counts[kind] += 1
        if isinstance(notice, Signalled):
            self.counts[f"{kind}.{notice.name}.{notice.receipt}"] += 1
        if isinstance(notice, Failed):
            self.counts[f"{kind}.{notice.part}.{notice.reason}"] += 1
        if isinstance(notice, Decided):
            self.counts.update(f"{kind}.without.{part}" for part in notice.failed)
        for name, value in notice._asdict().items():
            if name in ("seconds", "total", "num_new"):
                self.sums[f"{kind}.{name}"] += value
