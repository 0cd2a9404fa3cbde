"""The laws of ledgers, on the built-in one and on one in memory; each law catches a ledger that is broken in one way."""

import attrs
import numpy as np
import pytest

from recsdk.errors import LedgerError
from recsdk.ledger.sqlite import Sqlite
from recsdk.testing import LEDGER_CHECKS
from tests.ledger.memory import Memory, MemoryLedger


@pytest.mark.parametrize("check", LEDGER_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("store", [Sqlite(), Sqlite(durability="power-loss"), Sqlite(durability="memory"), Memory()], ids=repr)
def test_a_ledger_conforms(store, check):
    check(store)


def mutant(law, name, **methods):
    """Returns a law and a store that breaks it: its ledgers have other methods than those in memory, or it has them itself."""
    of_store = {name: method for name, method in methods.items() if hasattr(Memory, name)}
    kind = type("Broken", (MemoryLedger,), {name: method for name, method in methods.items() if name not in of_store})

    def opened(self, folder):
        ledger = Memory.open(self, folder)
        return kind(ledger._tables, ledger._folder)

    def read(self, folder):
        return kind(Memory.read(self, folder)._tables, None)

    return law, attrs.frozen(type(name, (Memory,), {"open": opened, "read": read, **of_store}))()


def rounds(self, record):
    MemoryLedger.add_decision(self, record._replace(probs=record.probs.astype(np.float32).astype(np.float64)))


def forgets_the_user(self, record):
    MemoryLedger.add_decision(self, record._replace(user=None))


def forgets_the_marks(self, record):
    MemoryLedger.add_decision(self, record._replace(marks=None))


def replaces(self, record):
    self._writable()["decisions"][record.decision_id] = (record, len(self._tables["items"]))


def one_place_twice(self, record):
    if record.reward_id in self._writable()["rewards"] or record.decision_id not in self._tables["decisions"]:
        raise LedgerError("there")
    self._tables["rewards"][record.reward_id] = record


class Ungrouped:
    def __enter__(self):
        return None

    def __exit__(self, *error):
        return False


def open_twice(self, folder):
    Memory.open_now.discard(str(folder))
    return Memory.open(self, folder)


def live_reader(self, folder):
    if not self.holds(folder):
        raise LedgerError("not there")
    return MemoryLedger(self.kept[str(folder)], None)


def writing_reader(self, folder):
    if not self.holds(folder):
        raise LedgerError("not there")
    return MemoryLedger({name: table.copy() for name, table in self.kept[str(folder)].items()}, "reader")


def shown_now(self, decision_id, slot):
    return list(self.items())[slot]


def replaces_signals(self, record):
    if record.decision_id not in self._writable()["decisions"]:
        raise LedgerError("not there")
    self._tables["signals"][record.signal_id] = record


def replaces_at_any_place(self, record):
    if record.replaces is None:
        return MemoryLedger.add_reward(self, record)
    self._writable()["rewards"][record.reward_id] = record
    return None


def forgets_what_it_is_about(self, record):
    MemoryLedger.add_signal(self, record._replace(about=None))


def oldest_first(self, user):
    return (record for record in self.decisions() if record.user == user)


NOTHING: dict = {"blobs": {}, "decisions": {}, "rewards": {}, "signals": {}, "items": []}

MUTANTS = [
    mutant("folder", "SaysYesToAll", holds=lambda self, folder: True),
    mutant("records", "RoundsProbs", add_decision=rounds),
    mutant("records", "ForgetsTheUser", add_decision=forgets_the_user),
    mutant("records", "ForgetsTheMarks", add_decision=forgets_the_marks),
    mutant("records", "MispairsOutcomes", outcomes=lambda self, start=0: zip(self.rewards(start), self.decisions(), strict=False)),
    mutant("absence", "TakesNoBytesForNone", get=lambda self, name: self._of()["blobs"].get(name) or None),
    mutant("names", "ReplacesDecisions", add_decision=replaces),
    mutant("names", "TakesAPlaceTwice", add_reward=one_place_twice),
    mutant("transaction", "CommitsAtOnce", transaction=lambda self: Ungrouped()),
    mutant("transaction", "CountsFromZeroOnly", rewards=lambda self, start=0: iter(self._of()["rewards"].values())),
    mutant("shown", "ShowsItemsAsTheyAreNow", shown=shown_now),
    mutant("signals", "ReplacesSignals", add_signal=replaces_signals),
    mutant("signals", "ForgetsWhatItIsAbout", add_signal=forgets_what_it_is_about),
    mutant("signals", "YieldsAllSignals", signals=lambda self, start=0: iter(self._of()["signals"].values())),
    mutant("corrections", "ReplacesAtAnyPlace", add_reward=replaces_at_any_place),
    mutant("users", "YieldsTheOldestFirst", decisions_of=oldest_first),
    mutant("one_writer", "LetsTwoWrite", open=open_twice),
    mutant("readers", "ReadsWhatComesLater", read=live_reader),
    mutant("readers", "LetsReadersWrite", read=writing_reader),
    mutant("durability", "SaysAnotherWord", durability=property(lambda self: "disk")),
    mutant("closing", "WorksWhenClosed", _of=lambda self: self._tables or NOTHING),
]


@pytest.mark.parametrize(("law", "store"), MUTANTS, ids=lambda value: type(value).__name__)
def test_a_broken_ledger_is_caught_by_its_law(law, store):
    failing = set()
    for check in LEDGER_CHECKS:
        try:
            check(store)
        except AssertionError as error:
            failing.add(str(error).partition(":")[0])
        except Exception:  # noqa: S112 -- a ledger that is broken may also fail in its own ways under other laws
            continue
        finally:
            Memory.open_now.clear()
    assert law in failing
