"""The state of a recommender made again from its folder alone, to compare it with the one that serves."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn

import numpy as np

from recsdk import states
from recsdk.base import Encoder, Policy, Scorer
from recsdk.checks import require_integer
from recsdk.data import items_from_stored
from recsdk.errors import InvalidValue, LedgerMismatch
from recsdk.ledger import DecisionRecord, Ledger, RewardRecord
from recsdk.ledger.stores import store
from recsdk.live import made
from recsdk.live.arithmetic import arithmetic
from recsdk.live.catalogue import Catalogue
from recsdk.live.evidence import Evidence
from recsdk.live.identity import identity, told
from recsdk.live.learner import Learner
from recsdk.live.parts import built

TOLERANCE = 1e-6
"""How far apart, relative to the largest number of an array, two states may be that other arithmetic has made."""

Agreement = Literal["same", "within rounding", "different", "no snapshot"]


class Reproduced(NamedTuple):
    """A state that was made again by the fold.

    Attributes:
        policy: what learned, with its settings.
        num_learned: the last reward that it has been folded over.
        state: a hash of the policy's and the scorers' states. It is the same wherever `arithmetic` is.
        arithmetic: eight digits that say how this process rounds sums of products.
        snapshot: the last reward that the snapshot knows of; None where it is not within what was folded.
        agreement: of the snapshot with the fold at its place. "within rounding" is for a snapshot of another `arithmetic`.

    Example:
        >>> import recsdk
        >>> with recsdk.Recommender.open("mill", items=[{"id": "rye"}, {"id": "oat"}], policy="lin-ts") as mill:
        ...     _ = mill.reward(mill.recommend({}).decision_id, 1.0)
        >>> found = reproduce("mill")
        >>> found.num_learned, found.agreement, reproduce("mill").state == found.state
        (1, 'same', True)
    """

    policy: str
    num_learned: int
    state: str
    arithmetic: str
    snapshot: int | None
    agreement: Agreement


def reproduce(
    folder: str | Path,
    *,
    to: int | None = None,
    policy: Policy[Any] | None = None,
    scorers: Sequence[Scorer[Any]] | None = None,
    encoder: Encoder[Any] | None = None,
    ledger: Any = None,
) -> Reproduced:
    """Folds the rewards of a folder in a new state, and compares it with the folder's snapshot. The recommender may be open.

    The policy and the scorers are made from what the folder says of them; those that are no plugins are to be given.

    Args:
        folder: the recommender's.
        to: number of the last reward to learn, from 1; None learns all that are there.
        policy: the policy with its floor, as in `Recommender.policy`; None makes it from its name and settings.
        scorers: all of them, in their order; None makes them.
        encoder: as given to `Recommender.open`; None makes it, where the folder has one.
        ledger: the kind of ledger, by name or as a config; None looks which installed one the folder holds.

    Raises:
        LedgerMismatch: a part that cannot be made, or is another than the folder's; a folder that has decided nothing yet.
        LedgerCorrupt: when a record is not what was written.
        LedgerError: when there is no ledger in the folder.
        InvalidValue: a `to` that is not among the rewards.

    Example:
        >>> import recsdk
        >>> with recsdk.Recommender.open("dairy", items=[{"id": "milk"}, {"id": "whey"}], policy="lin-ts") as dairy:
        ...     for value in (1.0, 0.0):
        ...         _ = dairy.reward(dairy.recommend({}).decision_id, value)
        >>> reproduce("dairy", to=1).num_learned
        1
    """
    with contextlib.closing(store(folder, ledger).read(folder)) as stored:
        last = stored.num_rewards()
        to = last if to is None else to
        require_integer("to", to, at_least=0)
        if to > last:
            raise InvalidValue(f"to must be at most {last}, the number of rewards in the ledger, got {to}.")
        header = json.loads(stored.get("snapshot/header") or "{}")
        chosen = policy or built(header["policy"] if header else _deciding(stored))
        makers = (chosen, scorers, encoder)
        with _recovered(_Until(stored, to), *makers) as learner:
            state, name = _digest(learner), told(identity(learner.policy))
            snapshot = header.get("num_learned", to + 1)
            if snapshot > to:
                return Reproduced(name, to, state, arithmetic(), None, "no snapshot")
            with _recovered(_Until(stored, snapshot, with_snapshot=True), *makers) as restored:
                if snapshot == to:
                    agreement = _agreement(learner, restored, header)
                else:
                    with _recovered(_Until(stored, snapshot), *makers) as folded:
                        agreement = _agreement(folded, restored, header)
        return Reproduced(name, to, state, arithmetic(), snapshot, agreement)


class _Until:
    """A ledger as it was after some reward, with its snapshot or without."""

    def __init__(self, ledger: Ledger, to: int, *, with_snapshot: bool = False) -> None:
        self._ledger = ledger
        self._to = to
        self._with_snapshot = with_snapshot

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def get(self, name: str) -> bytes | None:
        return None if name.startswith("snapshot/") and not self._with_snapshot else self._ledger.get(name)

    def num_rewards(self) -> int:
        return min(self._to, self._ledger.num_rewards())

    def rewards(self, start: int = 0) -> Iterator[RewardRecord]:
        return itertools.islice(self._ledger.rewards(start), max(self._to - start, 0))

    def outcomes(self, start: int = 0) -> Iterator[tuple[RewardRecord, DecisionRecord]]:
        return itertools.islice(self._ledger.outcomes(start), max(self._to - start, 0))


@contextlib.contextmanager
def _recovered(ledger: Any, policy: Any, scorers: Sequence[Any] | None, encoder: Any) -> Iterator[Learner]:
    """Yields a learner that has recovered from a ledger, with parts of its own, and closes it."""
    known = made.read(ledger, scorers or ())
    if known is None:
        raise LedgerMismatch("The folder must have been opened by a recommender once, which says of what it is made.")
    scorers = [built(known.scorers[number].part) for number in known.present] if scorers is None else scorers
    encoder = built(known.encoder) if encoder is None and known.vectors != "none" else encoder
    evidence = Evidence(encoder, scorers)
    try:
        if evidence.settle(known, _no_history, ledger).present != known.present:
            _no_history()
        learner = Learner(policy, evidence, _catalogue(ledger, evidence), ledger)
        try:
            learner.recover()
            yield learner
        finally:
            learner.close()
    finally:
        evidence.close()


def _no_history() -> NoReturn:
    raise LedgerMismatch("The parts given must be those that the folder was last opened with.")


def _catalogue(ledger: Ledger, evidence: Evidence) -> Catalogue:
    catalogue, records = Catalogue(evidence.dim), list(ledger.items())
    if records:
        items = items_from_stored(json.loads(record.row) for record in records)
        active = np.array([record.active for record in records], bool)
        catalogue.hold(catalogue.joined(items, np.zeros((len(records), evidence.dim), np.float32), active))
    return catalogue


def _deciding(ledger: Ledger) -> Any:
    """Returns the identity of the policy that made the last decision."""
    last = deque(ledger.decisions(), maxlen=1)
    if not last:
        raise LedgerMismatch("The folder must have a snapshot or a decision, to say which policy learned: give policy=.")
    return json.loads(last[0].parts)["policy"]


def _states(learner: Learner) -> list[tuple[Any, Any]]:
    return list(zip((learner.policy, *learner.evidence.scorers), (learner.state, *learner.evidence.states), strict=True))


def _digest(learner: Learner) -> str:
    digests = [states.digest(part, state) for part, state in _states(learner)]
    return hashlib.blake2b(json.dumps([learner.num_learned, *digests]).encode(), digest_size=16).hexdigest()


def _agreement(folded: Learner, restored: Learner, header: dict[str, Any]) -> Agreement:
    if _digest(folded) == _digest(restored):
        return "same"
    apart = max(states.distance(part, one, two) for (part, one), (_, two) in zip(_states(folded), _states(restored), strict=True))
    return "within rounding" if apart <= TOLERANCE and header.get("arithmetic") != arithmetic() else "different"
