"""Keys of clients: each may do what its scopes say, and the file has their hashes only."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from recsdk.errors import InvalidValue, one_of

Scope = Literal["decide", "reward", "items", "read", "admin"]
SCOPES: tuple[str, ...] = get_args(Scope)
"""`decide`: decisions and the user's stream. `reward`: rewards, signals, what was shown. `items`: the catalogue. `read`: how it does, with
the stream of decisions, which names users. `admin`: that and the rest."""
PREFIX = "recsdk_"
NOBODY = {"name": "", "scopes": [], "salt": "00" * 16, "hash": "00" * 32}


class Client(NamedTuple):
    """Who calls.

    Attributes:
        name: that the key was given.
        scopes: what it may do.
    """

    name: str
    scopes: frozenset[str]


class Keys:
    """The keys in a file; what is added or revoked there holds from the next request on.

    A key has 256 random bits, so a quick salted hash keeps it: there is nothing to guess.

    Raises:
        InvalidValue: a file that is none of keys.
        OSError: one that cannot be read.

    Example:
        >>> key = add_key("keys.json", "web", ["decide", "reward"])
        >>> sorted(Keys("keys.json").client(key).scopes), Keys("keys.json").client("recsdk_0_0") is None
        (['decide', 'reward'], True)
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._seen: tuple[int, ...] = ()
        self._entries: dict[str, dict[str, Any]] = {}
        self._read()

    def client(self, key: str) -> Client | None:
        """Returns who has a key; None where nobody has it.

        Raises:
            OSError, InvalidValue: when the file has become unreadable; nobody is let in then.
        """
        self._read()
        name, _, secret = key.removeprefix(PREFIX).partition("_")
        entry = self._entries.get(name, NOBODY)
        same = hmac.compare_digest(_hash(secret, entry["salt"]), entry["hash"])  # also where nobody has the name: it takes as long
        implied = {"read"} if "admin" in entry["scopes"] else set()
        return Client(entry["name"], frozenset(implied.union(entry["scopes"]))) if same and entry is not NOBODY else None

    def _read(self) -> None:
        found = os.stat(self._path)
        seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        if seen != self._seen:
            self._entries, self._seen = _entries(self._path), seen


def add_key(path: str | Path, name: str, scopes: Iterable[str]) -> str:
    """Makes a key, and keeps its hash in a file, which is made where it is not there.

    Returns:
        The key. It cannot be had again.

    Raises:
        InvalidValue: a scope that is none; a name that is there, or is empty; a file that another process changes at this moment.

    Example:
        >>> add_key("keys.json", "cron", ["items"]).startswith("recsdk_")
        True
    """
    path, chosen = Path(path), sorted(set(scopes))
    for scope in chosen or ("",):
        one_of("scope", scope, SCOPES)
    public, secret, salt = secrets.token_hex(8), secrets.token_urlsafe(32), secrets.token_hex(16)
    with _changing(path) as entries:
        if not name or not name.isprintable() or any(entry["name"] == name for entry in entries.values()):
            raise InvalidValue(f"name must be one that no key has yet, got {name!r}: revoke that key first.")
        entries[public] = {"name": name, "scopes": chosen, "salt": salt, "hash": _hash(secret, salt), "created": time.time()}
    return f"{PREFIX}{public}_{secret}"


def revoke_key(path: str | Path, name: str) -> None:
    """Takes a key out of a file.

    Raises:
        InvalidValue: no key of this name; a file that another process changes at this moment.

    Example:
        >>> key = add_key("keys.json", "old", ["decide"])
        >>> revoke_key("keys.json", "old")
        >>> Keys("keys.json").client(key) is None
        True
    """
    with _changing(Path(path)) as entries:
        found = [public for public, entry in entries.items() if entry["name"] == name]
        if not found:
            raise InvalidValue(f"name must be one of {sorted(entry['name'] for entry in entries.values())}, got {name!r}.")
        for public in found:
            del entries[public]


def _hash(secret: str, salt: str) -> str:
    return hashlib.blake2b(secret.encode("utf-8", "replace"), salt=bytes.fromhex(salt), digest_size=32).hexdigest()


def _entries(path: Path) -> dict[str, dict[str, Any]]:
    try:
        entries: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8"))["keys"]
        for entry in entries.values():
            if (
                not set(entry["scopes"]) <= set(SCOPES)
                or len(bytes.fromhex(entry["salt"])) != 16
                or len(bytes.fromhex(entry["hash"])) != 32
            ):
                raise ValueError(f"the key {entry['name']!r} has other scopes than {SCOPES}, or another salt or hash than are made")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidValue(f"{path} must be a file of keys, as `recsdk serve-key` makes it: {error!r}.") from error
    return entries


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[dict[str, dict[str, Any]]]:
    """Yields the keys of a file, and writes what becomes of them; the new file is the lock, as only one process can make it."""
    part = path.with_name(f"{path.name}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise InvalidValue(f"{path} is being changed: try again, or delete {part} where no other process changes it.") from error
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            entries = _entries(path) if path.exists() else {}
            yield entries
            json.dump({"keys": entries}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
