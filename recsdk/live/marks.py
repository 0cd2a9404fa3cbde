"""The marks of a decision: what else than a draw by the policy made it, and what may therefore be done with it."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np

from recsdk.ledger import DecisionRecord, Ledger

POLICY, BURN_IN, HOLDOUT, APPLICATION = "policy", "burn-in", "holdout", "application"
"""The arms: who chose a slate."""
ENCODER, RETRIEVER, SCORER = "encoder", "retriever", "scorer:"
"""Parts that may fail beside the arms; a scorer has the first of its columns behind the colon."""


class Marks(NamedTuple):
    """What is special about a decision; a plain draw by the policy has the defaults.

    Attributes:
        arm: who chose: "policy", "burn-in", "holdout", or "application" for a choice that the application had made itself.
        share: the share of the traffic that this arm was to get; None where no arms share it.
        by: "user" or "decision": what was assigned to the arm; "" where no arms share the traffic.
        pinned: positions whose items the application fixed: shown with probability 1, never drawn.
        promoted: positions that were drawn from some candidates only, with these, as indices like `DecisionRecord.action`.
        repeats: id of the decision whose slate was served again; None for a decision of its own.
        agreement: per position of an application's choice, the probability with which the policy would have chosen the same.
        failed: the parts that the decision was made without, since they failed or rest, see `recsdk.Fallback`: an arm that failed gives
            all candidates that are left the same probability.
        local: name of the export by which another process decided, see `recsdk.live.local`; "" for the recommender itself.

    Example:
        >>> Marks(pinned=(0,)).dumps()
        '{"pinned": [0]}'
        >>> Marks().dumps() is None
        True
    """

    arm: str = POLICY
    share: float | None = None
    by: str = ""
    pinned: tuple[int, ...] = ()
    promoted: tuple[tuple[int, tuple[int, ...]], ...] = ()
    repeats: str | None = None
    agreement: tuple[float, ...] = ()
    failed: tuple[str, ...] = ()
    local: str = ""

    @property
    def has_all_evidence(self) -> bool:
        """Whether the encoder and all scorers have answered."""
        return not any(part == ENCODER or part.startswith(SCORER) for part in self.failed)

    def dumps(self) -> str | None:
        """Returns what differs from a plain draw, as JSON; None for nothing."""
        if self == PLAIN:
            return None
        told = {name: value for name, value in self._asdict().items() if value != self._field_defaults[name]}
        return json.dumps(told, sort_keys=True) if told else None


PLAIN = Marks()


def read(record: DecisionRecord) -> Marks:
    """Returns the marks of a decision."""
    return PLAIN if record.marks is None else loads(record.marks)


def loads(text: str) -> Marks:
    """Reads what `dumps` gave."""
    told: dict[str, Any] = json.loads(text)
    told["promoted"] = tuple((position, tuple(places)) for position, places in told.get("promoted", ()))
    return Marks(**told | {name: tuple(told.get(name, ())) for name in ("pinned", "agreement", "failed")})


def left(record: DecisionRecord, position: int) -> np.ndarray:
    """Returns bool[K], the candidates that could have been shown at a position, given what stands above."""
    return free(np.ones(len(record.slots), bool), record.action, position, read(record))


def free(candidates: np.ndarray, action: np.ndarray, position: int, marks: Marks) -> np.ndarray:
    """Is `left` for `candidates` bool[K], and `action` i64[>= position], which has an item wherever one is pinned."""
    mask = candidates.copy()
    if position in marks.pinned:
        mask[:] = False
        mask[action[position]] = True
        return mask
    mask[action[:position]] = False
    mask[[action[pinned] for pinned in marks.pinned]] = False
    for promoted, places in marks.promoted:
        if promoted == position:
            mask &= np.isin(np.arange(len(mask)), places)
    return mask


def unfit(record: DecisionRecord, position: int) -> str | None:
    """Tells why a position says nothing about what would happen with another policy; None when it does."""
    return undrawn(record, position) or (None if read(record).has_all_evidence else "decided without all evidence")


def undrawn(record: DecisionRecord, position: int) -> str | None:
    """Tells why the item at a position was not drawn; None when it was."""
    marks = read(record)
    if marks.repeats is not None:
        return "served again"
    if marks.arm == APPLICATION:
        return "chosen by the application"
    return "pinned" if position in marks.pinned else None


def is_of_the_policy(record: DecisionRecord) -> bool:
    """Tells whether the policy alone decided: no mixture with a holdout, and nothing in its place where it failed."""
    found = read(record)
    return found.arm == POLICY and found.by != "decision" and POLICY not in found.failed


def origin(ledger: Ledger, record: DecisionRecord) -> DecisionRecord:
    """Returns the decision that drew a slate: the record itself, unless it was served again."""
    repeats = read(record).repeats
    return record if repeats is None else ledger.decision(repeats) or record
