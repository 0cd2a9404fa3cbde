"""The tables of a ledger in SQLite, the steps from earlier versions, and the columns that its queries read."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from recsdk.errors import LedgerMismatch
from recsdk.ledger import _head, heads
from recsdk.ledger._segments import TABLE

SCHEMA_VERSION = 9
SIGNALS = """
CREATE INDEX decisions_of_user ON decisions (user, number);
CREATE TABLE signals (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, decision INTEGER NOT NULL REFERENCES decisions,
  position INTEGER NOT NULL, name TEXT NOT NULL, value REAL NOT NULL, time REAL NOT NULL, crc32 INTEGER NOT NULL) STRICT;
CREATE INDEX signals_of_decision ON signals (decision, number);
"""
CHAIN = "".join(f"ALTER TABLE {table} ADD COLUMN chain BLOB;\n" for table in heads.TABLES)
REVISIONS = """
ALTER TABLE signals ADD COLUMN happened REAL;
ALTER TABLE signals ADD COLUMN about TEXT;
CREATE TABLE revised (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, decision INTEGER NOT NULL REFERENCES decisions,
  position INTEGER NOT NULL, value REAL NOT NULL, time REAL NOT NULL, crc32 INTEGER NOT NULL, chain BLOB,
  replaces TEXT UNIQUE REFERENCES rewards (id), void INTEGER) STRICT;
INSERT INTO revised SELECT number, id, decision, position, value, time, crc32, chain, NULL, NULL FROM rewards;
DROP TABLE rewards;
ALTER TABLE revised RENAME TO rewards;
CREATE UNIQUE INDEX rewards_of_place ON rewards (decision, position) WHERE replaces IS NULL;
CREATE INDEX rewards_of_decision ON rewards (decision, number);
"""
PACKED = "ALTER TABLE decisions ADD COLUMN packed INTEGER NOT NULL DEFAULT 0;\n"
MARKS = "ALTER TABLE decisions ADD COLUMN marks TEXT;\n"
FORGOTTEN = "".join(f"ALTER TABLE {table} ADD COLUMN forgotten INTEGER;\n" for table in ("decisions", "signals", "rewards"))
UPGRADES = {
    1: "ALTER TABLE decisions ADD COLUMN user TEXT;",
    2: SIGNALS,
    3: CHAIN,
    4: REVISIONS,
    5: PACKED,
    6: MARKS,
    7: TABLE,
    8: FORGOTTEN,
}
"""The statements that turn a schema of each version into the next."""
SCHEMA = (
    """
CREATE TABLE blobs (name TEXT PRIMARY KEY, sha256 BLOB NOT NULL, data BLOB NOT NULL) STRICT;
CREATE TABLE items (
  number INTEGER PRIMARY KEY, slot INTEGER NOT NULL, row TEXT NOT NULL, vector BLOB NOT NULL, active INTEGER NOT NULL,
  crc32 INTEGER NOT NULL) STRICT;
CREATE INDEX items_of_slot ON items (slot, number);
CREATE TABLE parts (number INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE decisions (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, time REAL NOT NULL, payload TEXT NOT NULL,
  parts INTEGER NOT NULL REFERENCES parts, num_learned INTEGER NOT NULL, num_items INTEGER NOT NULL,
  slots BLOB NOT NULL, action BLOB NOT NULL, probs BLOB NOT NULL, dim INTEGER NOT NULL, features BLOB NOT NULL,
  crc32 INTEGER NOT NULL, user TEXT) STRICT;
CREATE TABLE rewards (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, decision INTEGER NOT NULL REFERENCES decisions,
  position INTEGER NOT NULL, value REAL NOT NULL, time REAL NOT NULL, crc32 INTEGER NOT NULL, UNIQUE (decision, position)) STRICT;
"""
    + SIGNALS
    + CHAIN
    + REVISIONS
    + PACKED
    + MARKS
    + TABLE
    + FORGOTTEN
)
ITEM = "i.slot, i.row, i.vector, i.active, i.crc32"
DECISION = (
    "d.id, d.time, d.payload, p.text, d.num_learned, d.slots, d.action, d.probs, d.dim, d.features, d.user, d.marks, "
    "d.num_items, d.number, d.packed, COALESCE(d.forgotten, d.crc32)"
)
PAYLOAD, PARTS, NUM_ITEMS = 2, 3, 12
"""The places of `d.payload`, `p.text` and `d.num_items` in a row of these."""
SIGNAL = "s.id, d.id, s.position, s.name, s.value, s.time, s.happened, s.about, COALESCE(s.forgotten, s.crc32)"
REWARD = "r.id, d.id, r.position, r.value, r.time, r.replaces, r.void, COALESCE(r.forgotten, r.crc32)"
REWARD_FIELDS = 8
# Left joins: a row whose reference is damaged must be noticed by its checksum, not left out.
DECISIONS = "decisions d LEFT JOIN parts p ON p.number = d.parts"
REWARDS = "rewards r LEFT JOIN decisions d ON d.number = r.decision"
SIGNALS_OF = "signals s LEFT JOIN decisions d ON d.number = s.decision"


def version(db: sqlite3.Connection) -> int:
    """Returns the version of a database, 0 of one without tables."""
    (found,) = db.execute("PRAGMA user_version").fetchone()
    return int(found)


def refuse_newer(found: int) -> None:
    """Refuses a version that this recsdk does not know."""
    if found > SCHEMA_VERSION:
        raise LedgerMismatch(
            f"The ledger is of version {found}, this recsdk reads versions up to {SCHEMA_VERSION}: open it with the recsdk that wrote it."
        )


def upgrade(db: sqlite3.Connection) -> None:
    """Makes the tables, or brings those of an earlier version to this one."""
    found = version(db)
    refuse_newer(found)
    steps = SCHEMA if found == 0 else "".join(UPGRADES[step] for step in range(found, SCHEMA_VERSION))
    if not steps:
        return
    db.execute("BEGIN IMMEDIATE")
    for statement in steps.split(";"):
        db.execute(statement)
    if found < 4:
        _head.chain_all(db)
    db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    db.execute("COMMIT")


class Columns(NamedTuple):
    """The columns of a query for each kind of record.

    Attributes:
        decision: with its number, whether it is packed, and its checksum.
        signal: with its checksum.
        reward: the same.
    """

    decision: str
    signal: str
    reward: str


def columns(found: int) -> Columns:
    """Returns the columns in a ledger of a version: one that is read, not opened, lacks those of later versions."""
    decision, signal, reward = DECISION, SIGNAL, REWARD
    for column, since, before in (("d.user", 2, "NULL"), ("d.packed", 6, "0"), ("d.marks", 7, "NULL"), ("d.forgotten", 9, "NULL")):
        decision = decision if found >= since else decision.replace(column, before)
    for column, since in (("happened", 5), ("about", 5), ("replaces", 5), ("void", 5), ("forgotten", 9)):
        if found < since:
            signal, reward = signal.replace(f"s.{column}", "NULL"), reward.replace(f"r.{column}", "NULL")
    return Columns(decision, signal, reward)
