"""What became of the last events that were told: the counts that a folder does not show, since it keeps only what was taken."""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from typing import Any

from recsdk.ledger import Ledger
from recsdk.live.observe import Corrected, Rewarded, Signalled

TALLY = "tally"
"""Where the ledger keeps the counts as of the last snapshot."""
LAST = 1_000
"""How many of the last events are counted."""
FAR = 300.0
"""Seconds by which a clock is far off: what Kerberos tolerates (RFC 4120). Clocks that are set by NTP are within one."""


class Tally:
    """Counts what became of the last 1,000 rewards, signals and corrections since the opening.

    Each was "taken", "duplicate", "early", "late", "unknown" or "expired".

    "ahead" are beside these the signals that happened, as the application says, more than five minutes after they were told.
    """

    def __init__(self) -> None:
        self._last = deque[tuple[str, bool]](maxlen=LAST)
        self._lock = threading.Lock()

    def add(self, notice: Any) -> None:
        """Counts a notice of an event; others are none."""
        match notice:
            case Rewarded():
                self.count("taken" if notice.num_new else "duplicate")
            case Signalled():
                self.count(notice.receipt, is_ahead=notice.delay < -FAR)
            case Corrected():
                self.count(notice.receipt)

    def count(self, receipt: str, *, is_ahead: bool = False) -> None:
        """Counts an event."""
        with self._lock:
            self._last.append((receipt, is_ahead))

    def keep(self, ledger: Ledger) -> None:
        """Writes the counts since the opening; where there was no event, those of before stand."""
        with self._lock:
            last = list(self._last)
        if not last:
            return
        counts = Counter(receipt for receipt, _ in last)
        ledger.put(TALLY, json.dumps({**counts, "ahead": sum(is_ahead for _, is_ahead in last)}).encode())


def read(ledger: Ledger) -> dict[str, int]:
    """Returns the counts as of the last snapshot; empty before the first."""
    counts: dict[str, int] = json.loads(ledger.get(TALLY) or "{}")
    return counts
