"""The tables of a ledger, and the queries that read them.

All texts are kept as bytes in UTF-8: PostgreSQL's own texts cannot hold a NUL, depend on the database's encoding, and are compared by its
collation. A user's key may be longer than a row of an index, so users are found by a hash.
"""

from __future__ import annotations

import re

VERSION = 2

FORGOTTEN = """
ALTER TABLE decisions ADD COLUMN forgotten BIGINT;
ALTER TABLE signals ADD COLUMN forgotten BIGINT;
ALTER TABLE rewards ADD COLUMN forgotten BIGINT, ALTER CONSTRAINT rewards_replaces_fkey DEFERRABLE;
""" + "".join(
    f"ALTER TABLE {table} " + ", ".join(f"ALTER COLUMN {column} SET STATISTICS 0" for column in columns.split()) + ";\n"
    for table, columns in {
        "blobs": "name data",
        "decisions": "id payload slots action probs features user_key marks",
        "signals": "id name value about",
        "rewards": "id value replaces",
    }.items()
)
"""What version 2 has and version 1 has not: the checksum of an emptied record; and samples of what may be forgotten are not kept."""
UPGRADES = {1: FORGOTTEN}
SCHEMA = (
    """
CREATE TABLE meta (version INTEGER NOT NULL, ledger BYTEA NOT NULL);
CREATE TABLE blobs (name BYTEA PRIMARY KEY, sha256 BYTEA NOT NULL, data BYTEA NOT NULL);
CREATE TABLE items (
  number BIGINT PRIMARY KEY, slot BIGINT NOT NULL, row BYTEA NOT NULL, vector BYTEA NOT NULL, active BOOLEAN NOT NULL,
  crc32 BIGINT NOT NULL, chain BYTEA NOT NULL);
CREATE INDEX items_of_slot ON items (slot, number);
CREATE TABLE parts (number BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY, sha256 BYTEA NOT NULL UNIQUE, text BYTEA NOT NULL);
CREATE TABLE decisions (
  number BIGINT PRIMARY KEY, id BYTEA NOT NULL UNIQUE, time FLOAT8 NOT NULL, payload BYTEA NOT NULL,
  parts BIGINT NOT NULL REFERENCES parts, num_learned BIGINT NOT NULL, num_items BIGINT NOT NULL,
  slots BYTEA NOT NULL, action BYTEA NOT NULL, probs BYTEA NOT NULL, dim BIGINT NOT NULL, features BYTEA NOT NULL,
  user_key BYTEA, marks BYTEA, crc32 BIGINT NOT NULL, chain BYTEA NOT NULL);
CREATE INDEX decisions_of_user ON decisions (sha256(user_key), number);
CREATE TABLE signals (
  number BIGINT PRIMARY KEY, id BYTEA NOT NULL UNIQUE, decision BIGINT NOT NULL REFERENCES decisions, position BIGINT NOT NULL,
  name BYTEA NOT NULL, value FLOAT8 NOT NULL, time FLOAT8 NOT NULL, happened FLOAT8, about BYTEA,
  crc32 BIGINT NOT NULL, chain BYTEA NOT NULL);
CREATE INDEX signals_of_decision ON signals (decision, number);
CREATE TABLE rewards (
  number BIGINT PRIMARY KEY, id BYTEA NOT NULL UNIQUE, decision BIGINT NOT NULL REFERENCES decisions, position BIGINT NOT NULL,
  value FLOAT8 NOT NULL, time FLOAT8 NOT NULL, replaces BYTEA UNIQUE REFERENCES rewards (id), void BOOLEAN, crc32 BIGINT NOT NULL,
  chain BYTEA NOT NULL);
CREATE UNIQUE INDEX rewards_of_place ON rewards (decision, position) WHERE replaces IS NULL;
CREATE INDEX rewards_of_decision ON rewards (decision, number);
"""
    + FORGOTTEN
)

DECISION = (
    "d.id, d.time, d.payload, p.text, d.num_learned, d.slots, d.action, d.probs, d.dim, d.features, d.user_key, d.marks, "
    "COALESCE(d.forgotten, d.crc32)"
)
REWARD = "r.id, d.id, r.position, r.value, r.time, r.replaces, r.void, COALESCE(r.forgotten, r.crc32)"
REWARD_FIELDS = 8
SIGNAL = "s.id, d.id, s.position, s.name, s.value, s.time, s.happened, s.about, COALESCE(s.forgotten, s.crc32)"
ITEM = "i.slot, i.row, i.vector, i.active, i.crc32"
# Left joins: a row whose reference is damaged must be noticed by its checksum, not left out.
DECISIONS = f"SELECT d.number, {DECISION} FROM decisions d LEFT JOIN parts p ON p.number = d.parts"
REWARDS = f"SELECT r.number, {REWARD} FROM rewards r LEFT JOIN decisions d ON d.number = r.decision"
SIGNALS = f"SELECT s.number, {SIGNAL} FROM signals s LEFT JOIN decisions d ON d.number = s.decision"
OUTCOMES = (
    f"SELECT r.number, {REWARD}, {DECISION} "
    "FROM rewards r LEFT JOIN decisions d ON d.number = r.decision LEFT JOIN parts p ON p.number = d.parts"
)
ITEMS = f"SELECT i.number, {ITEM} FROM items i"

ADD_DECISION = (
    "INSERT INTO decisions (id, time, payload, parts, num_learned, slots, action, probs, dim, features, user_key, marks, crc32, "
    "number, chain, num_items) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, (SELECT COALESCE(MAX(number), 0) FROM items))"
)
ADD_REWARD = (
    "INSERT INTO rewards (id, decision, position, value, time, replaces, void, crc32, number, chain) "
    "VALUES (%s, (SELECT number FROM decisions WHERE id = %s), %s, %s, %s, %s, %s, %s, %s, %s)"
)
ADD_SIGNAL = (
    "INSERT INTO signals (id, decision, position, name, value, time, happened, about, crc32, number, chain) "
    "VALUES (%s, (SELECT number FROM decisions WHERE id = %s), %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
ADD_ITEM = "INSERT INTO items (slot, row, vector, active, crc32, number, chain) VALUES (%s, %s, %s, %s, %s, %s, %s)"
PUT = "INSERT INTO blobs VALUES (%s, %s, %s) ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256, data = excluded.data"

EMPTY_DECISION = (
    "UPDATE decisions SET id = %s, time = %s, payload = %s, num_learned = %s, slots = %s, action = %s, probs = %s, dim = %s, "
    "features = %s, user_key = %s, marks = %s, forgotten = %s WHERE id = %s"
)
EMPTY_SIGNAL = (
    "UPDATE signals SET id = %s, position = %s, name = %s, value = %s, time = %s, happened = %s, about = %s, forgotten = %s WHERE id = %s"
)
EMPTY_REWARD = "UPDATE rewards SET id = %s, position = %s, value = %s, time = %s, replaces = %s, void = %s, forgotten = %s WHERE id = %s"
DROP = "DELETE FROM blobs WHERE substr(name, 1, %s) = %s"
HELD = """
SELECT count(*) FROM (
  SELECT backend_xmin FROM pg_stat_activity
  WHERE pid <> pg_backend_pid() AND (datname = current_database() OR datname IS NULL)
  UNION ALL SELECT xmin FROM pg_replication_slots
  UNION ALL SELECT transaction FROM pg_prepared_xacts WHERE database = current_database()
) AS held (seen) WHERE age(seen) >= age(%s::text::xid8::xid)
"""
"""How many snapshots are there from before a transaction: what it has removed is kept for them."""


def of_version(query: str, version: int) -> str:
    """Returns a query as a ledger of a version needs it: one of version 1 that is read, not opened, has no emptied records."""
    return query if version >= 2 else re.sub(r"COALESCE\((\w)\.forgotten, \w\.crc32\)", r"\1.crc32", query)
