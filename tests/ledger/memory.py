"""A ledger written to the protocol alone: dicts in memory. What it serves, any ledger serves."""

import contextlib
from typing import ClassVar

import attrs

from recsdk.errors import LedgerCorrupt, LedgerError, LedgerLocked


@attrs.frozen(kw_only=True)
class Memory:
    """Keeps ledgers in this process, by the names of their folders."""

    kept: ClassVar[dict] = {}
    open_now: ClassVar[set] = set()

    def holds(self, folder):
        return str(folder) in self.kept

    def open(self, folder):
        if str(folder) in self.open_now:
            raise LedgerLocked(f"The ledger {str(folder)!r} is open: close it first.")
        self.open_now.add(str(folder))
        return MemoryLedger(
            self.kept.setdefault(str(folder), {"blobs": {}, "decisions": {}, "rewards": {}, "signals": {}, "items": []}), str(folder)
        )

    def read(self, folder):
        if not self.holds(folder):
            raise LedgerError(f"There is no ledger in {str(folder)!r}.")
        return MemoryLedger({name: table.copy() for name, table in self.kept[str(folder)].items()}, None)


class MemoryLedger:
    def __init__(self, tables, folder):
        self._tables, self._folder = tables, folder

    @contextlib.contextmanager
    def transaction(self):
        before = {name: table.copy() for name, table in self._of().items()}
        try:
            yield
        except BaseException:
            self._tables.update(before)
            raise

    def get(self, name):
        return self._of()["blobs"].get(name)

    def put(self, name, data):
        self._writable()["blobs"][name] = data

    def add_decision(self, record):
        decisions = self._writable()["decisions"]
        if record.decision_id in decisions:
            raise LedgerError(f"The decision {record.decision_id!r} is there.")
        decisions[record.decision_id] = (record, len(self._tables["items"]))

    def decision(self, decision_id):
        return self._of()["decisions"].get(decision_id, (None,))[0]

    def decisions(self, start=0):
        return iter([record for record, _ in self._of()["decisions"].values()][start:])

    def decisions_of(self, user):
        return (record for record in reversed(list(self.decisions())) if record.user == user)

    def add_signal(self, record):
        tables = self._writable()
        if record.signal_id in tables["signals"] or record.decision_id not in tables["decisions"]:
            raise LedgerError(f"The signal {record.signal_id!r} is there, or its decision is not.")
        tables["signals"][record.signal_id] = record

    def signal(self, signal_id):
        return self._of()["signals"].get(signal_id)

    def signals(self, start=0):
        return iter(list(self._of()["signals"].values())[start:])

    def signals_of(self, decision_id):
        return [record for record in self._of()["signals"].values() if record.decision_id == decision_id]

    def add_reward(self, record):
        tables = self._writable()
        here = [r.reward_id for r in self.rewards_of(record.decision_id) if r.position == record.position]
        replaced = {r.replaces for r in tables["rewards"].values()}
        free = not here if record.replaces is None else record.replaces in set(here) - replaced
        if record.reward_id in tables["rewards"] or not free or record.decision_id not in tables["decisions"]:
            raise LedgerError(f"The reward {record.reward_id!r} is there, its place is taken, or its decision is not there.")
        tables["rewards"][record.reward_id] = record

    def reward(self, reward_id):
        return self._of()["rewards"].get(reward_id)

    def rewards(self, start=0):
        return iter(list(self._of()["rewards"].values())[start:])

    def rewards_of(self, decision_id):
        return [record for record in self.rewards() if record.decision_id == decision_id]

    def outcomes(self, start=0):
        return ((reward, self.decision(reward.decision_id)) for reward in self.rewards(start))

    def num_rewards(self):
        return len(self._of()["rewards"])

    def put_item(self, record):
        self._writable()["items"].append(record)

    def items(self):
        latest = {record.slot: record for record in self._of()["items"]}
        return iter([latest[slot] for slot in sorted(latest)])

    def shown(self, decision_id, slot):
        _, num_items = self._of()["decisions"][decision_id]
        found = [record for record in self._tables["items"][:num_items] if record.slot == slot]
        if not found:
            raise LedgerCorrupt(f"No item was in slot {slot} at decision {decision_id!r}.")
        return found[-1]

    def close(self):
        self._tables = None
        Memory.open_now.discard(self._folder)

    def _of(self):
        if self._tables is None:
            raise LedgerError("The ledger is closed.")
        return self._tables

    def _writable(self):
        tables = self._of()
        if self._folder is None:
            raise LedgerError("The ledger is open for reading.")
        return tables
