"""What folds begin with where the log does not: its oldest rewards were dropped, or a user's share was taken out of the state.

A fold over all rewards begins with nothing. Once rewards are gone that a state has learned, that state, as it was after the last of them,
is what folds begin with: the base. It is in the ledger, written together with what removes the rewards.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, NamedTuple

from recsdk.base import Policy
from recsdk.errors import LedgerCorrupt
from recsdk.ledger import Ledger
from recsdk.live.identity import differences

OUTBOX = "outbox/"
"""Where the ledger keeps what is still to be sent because of a stream, whose name follows."""

EXPORT = "export/"
"""Where the ledger keeps what other processes decide by, whose name follows."""

BASE = "base"
"""Where the ledger keeps the states that folds begin with."""
DROPPED = "dropped"
"""Where the ledger keeps how far it is dropped."""


class Horizon(NamedTuple):
    """How far the records of a folder are dropped by their age; all 0 where none is.

    Attributes:
        num_decisions: that were dropped.
        num_seen: decisions, from the first on, of which all are dropped or forgotten.
        until: time of the newest that was dropped.
        num_learned: rewards up to the last one that was dropped. Folds begin after them.
        learned_until: latest time of these rewards.
    """

    num_decisions: int = 0
    num_seen: int = 0
    until: float = 0.0
    num_learned: int = 0
    learned_until: float = 0.0

    def keep(self, ledger: Ledger) -> None:
        """Writes it."""
        ledger.put(DROPPED, json.dumps(self._asdict()).encode())


class Beginning(NamedTuple):
    """What a fold begins with.

    Attributes:
        header: of the base; empty where there is none that belongs to the present model.
        state: where the ledger keeps the policy's state; None for a state that has learned nothing.
        num_learned: rewards that come before.
    """

    header: dict[str, Any]
    state: str | None
    num_learned: int

    @property
    def has_all(self) -> bool:
        """Whether the ledger also has what the scorers and the challengers had learned by then."""
        return bool(self.header.get("dropped")) and self.header["num_learned"] == self.num_learned


def horizon(ledger: Ledger) -> Horizon:
    """Returns how far a folder is dropped."""
    return Horizon(**json.loads(ledger.get(DROPPED) or "{}"))


def header_of(ledger: Ledger) -> dict[str, Any]:
    """Returns what the base says of itself; empty where there is none.

    Raises:
        LedgerCorrupt: there is none, and there must be one.
    """
    header: dict[str, Any] = json.loads(ledger.get(f"{BASE}/header") or "{}")
    if not header.get("dropped") and horizon(ledger).num_learned:
        raise LedgerCorrupt("The ledger lacks what was learned of the rewards that were dropped: restore a backup.")
    return header


def first(ledger: Ledger) -> int:
    """Returns after how many rewards the state can be made again, at the earliest."""
    header = header_of(ledger)
    return max(horizon(ledger).num_learned, header["num_learned"] if header.get("dropped") else 0)


def place_of(header: dict[str, Any], policy: Policy[Any]) -> str | None:
    """Returns where a base has the state of a policy, which may have been a challenger then; None where it has none."""
    if not differences(header["policy"], policy):
        return f"{BASE}/policy"
    others = header.get("contest", {}).get("entries", {}).items()
    same = (name for name, told in others if not told["error"] and not differences(told["part"], policy))
    return next((f"{BASE}/challenger/{name}" for name in same), None)


def named(ledger: Ledger) -> Callable[[str], str]:
    """Returns what makes of an id the one that its record has once it is dropped, and that only this folder makes of it."""
    salt = ledger.get("salt") or b""
    return lambda name: f"dropped-{blake2b(name.encode(), key=salt[:64], digest_size=16).hexdigest()}"


def was_dropped(ledger: Ledger, lookup: Callable[[str], Any], name: Any) -> bool:
    """Tells whether a record of this name was dropped; `lookup` gives the record of a name, or None."""
    return isinstance(name, str) and ledger.get(DROPPED) is not None and lookup(named(ledger)(name)) is not None


def is_fixed(ledger: Ledger, decision_id: str) -> bool:
    """Tells whether rewards of a decision came before the last that was dropped, so that nobody can correct what was learned of them."""
    found = horizon(ledger)
    early = {reward.reward_id for reward in ledger.rewards_of(decision_id) if reward.time <= found.learned_until}
    if not (found.num_learned and early):
        return False
    return not early <= {reward.reward_id for reward in ledger.rewards(found.num_learned)}  # a clock may have gone back
