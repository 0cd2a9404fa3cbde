"""How far an open ledger is: what it has written, what of that it has acknowledged, and whether it has stopped.

For who writes a ledger of their own on something that can fail.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from recsdk.errors import LedgerStopped
from recsdk.ledger.heads import TABLES, HeadFile, Last, chained


class Progress:
    """The end of each table's chain of hashes, as it is written and acknowledged. Once stopped, nothing is acknowledged any more.

    Args:
        look: returns the last record of each of `heads.TABLES`, as the store has it.
        head: of a ledger that is written to; None for one that is read.

    Example:
        >>> from pathlib import Path
        >>> from recsdk.ledger.heads import boot, read
        >>> head = HeadFile(Path("."))
        >>> head.start((Last(),) * len(TABLES), safe=True, now=boot())
        >>> progress = Progress(lambda: (Last(),) * len(TABLES), head)
        >>> number, chain = progress.chain("decisions", 17)  # store both with the record; then commit
        >>> progress.acknowledge()
        >>> read(Path(".")).numbers()
        {'decisions': 1}
        >>> progress.close()
    """

    def __init__(self, look: Callable[[], tuple[Last, ...]], head: HeadFile | None = None) -> None:
        self._look = look
        self._head = head
        self._last: dict[str, Last] = {}
        self._stopped = ""

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return bool(self._stopped)

    def check(self) -> None:
        """Refuses everything once the ledger has stopped, reads too: the answer to what was sent twice is an acknowledgement.

        Raises:
            LedgerStopped: with the reason.
        """
        if self._stopped:
            raise LedgerStopped(self._stopped)

    def chain(self, table: str, crc32: int) -> Last:
        """Returns the number and the chained hash of one more record of a table, given its checksum."""
        last = self._known()
        last[table] = chained(last[table], crc32)
        return last[table]

    def number(self, table: str) -> int:
        """Returns how many records a table has."""
        return self._known()[table].number

    def _known(self) -> dict[str, Last]:
        if self._stopped:
            self.check()
        if not self._last:
            self._last = dict(zip(TABLES, self._look(), strict=True))
        return self._last

    def forget(self) -> None:
        """Forgets what was written, after a failure: the next record is chained to what the store then has."""
        self._last = {}

    def acknowledge(self) -> None:
        """Notes, after a commit, how far the ledger is acknowledged.

        Raises:
            LedgerStopped: when that cannot be written.
        """
        last = tuple(self._last.values())
        if self._head is not None and last and last != self._head.head.tables:
            try:
                self._head.write(last)
            except OSError as error:
                self.stop(f"How far the ledger is acknowledged could not be written: {error}.")

    def stop(self, why: str) -> NoReturn:
        """Stops the ledger for good.

        Raises:
            LedgerStopped: with the reason, a sentence.
        """
        self._stopped = f"{why} From here on nothing is acknowledged: open the folder again."
        self.close()
        raise LedgerStopped(self._stopped)

    def close(self) -> None:
        """Lets go of the head."""
        if self._head is not None:
            self._head.close()
