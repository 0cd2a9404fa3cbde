"""The state of a recommender made again from its folder alone, to compare it with the one that serves."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn

import numpy as np

from recsdk import states
from recsdk.base import Encoder, Policy, Scorer
from recsdk.checks import require_integer
from recsdk.data import items_from_stored
from recsdk.errors import InvalidValue, LedgerMismatch
from recsdk.ledger import Corrects, DecisionRecord, Ledger, RewardRecord
from recsdk.ledger.stores import store
from recsdk.live import base, intake
from recsdk.live.catalogue import Catalogue
from recsdk.live.contest import ROLES, Contest
from recsdk.live.evidence import Evidence
from recsdk.live.folding import outcome_fields
from recsdk.live.identity import differences, identity, told
from recsdk.live.learner import Learner
from recsdk.live.parts import encoder_of, known_of, policy_of, scorers_of, trial_of
from recsdk.live.trials import Trials

TOLERANCE = 1e-6
"""How far apart, relative to the largest number of an array, two states may be that other arithmetic has made."""

Agreement = Literal["same", "within rounding", "different", "no snapshot"]


class Reproduced(NamedTuple):
    """A state that was made again by the fold.

    Attributes:
        policy: what learned, with its settings; of several in a trial the one that decides.
        num_learned: the last reward that it has been folded over.
        state: a hash of the states of the policy, its challengers and the scorers. It is the same wherever `arithmetic` is.
        arithmetic: eight digits that say how this process rounds what the policies learn.
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
    challengers: Mapping[str, Policy[Any]] | None = None,
    ledger: Any = None,
) -> Reproduced:
    """Folds the rewards of a folder in a new state, and compares it with the folder's snapshot. The recommender may be open.

    The policies and the scorers are made from what the folder says of them; those that are no plugins are to be given.

    Args:
        folder: the recommender's.
        to: number of the last reward to learn, from 1; None learns all that are there.
        policy: the policy with its floor, as in `Recommender.policy`; None makes it from its name and settings.
        scorers: all of them, in their order; None makes them.
        encoder: as given to `Recommender.open`; None makes it, where the folder has one.
        challengers: policies of a trial by name, "policy" for the one given to `Recommender.open`, each with its floor. Those that are not
            given are made.
        ledger: the kind of ledger, by name or as a config; None looks which installed one the folder holds.

    Raises:
        LedgerMismatch: a part that cannot be made, or is another than the folder's; a folder that has decided nothing yet.
        LedgerCorrupt: when a record is not what was written.
        LedgerError: when there is no ledger in the folder.
        InvalidValue: a `to` that is not among the rewards, or comes before the last one that was dropped; challengers of other names than
            the folder's.

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
        begin = base.first(stored)
        if to < begin:
            raise InvalidValue(f"to must be at least {begin}, the last reward before the fold begins: older ones were dropped, got {to}.")
        if to > last:
            raise InvalidValue(f"to must be at most {last}, the number of rewards in the ledger, got {to}.")
        header = json.loads(stored.get("snapshot/header") or "{}")
        makers = (policy or policy_of(stored), scorers, encoder, challengers or {})
        with recovered(stored, to, *makers) as learner:
            state, name = _digest(learner), told(identity(learner.policy))
            snapshot = header.get("num_learned", to + 1)
            if snapshot > to:
                return Reproduced(name, to, state, learner.arithmetic, None, "no snapshot")
            with recovered(stored, snapshot, *makers, with_snapshot=True) as restored:
                if snapshot == to:
                    agreement = _agreement(learner, restored, header)
                else:
                    with recovered(stored, snapshot, *makers) as folded:
                        agreement = _agreement(folded, restored, header)
        return Reproduced(name, to, state, learner.arithmetic, snapshot, agreement)


class _Until:
    """A ledger as it was after some reward, with its snapshot or without; later corrections may be known."""

    def __init__(self, ledger: Ledger, to: int, *, with_snapshot: bool = False, knows_later: bool = False) -> None:
        self._ledger = ledger
        self._to = to
        self._with_snapshot = with_snapshot
        self._knows_later = knows_later

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def get(self, name: str) -> bytes | None:
        return None if name.startswith("snapshot/") and not self._with_snapshot else self._ledger.get(name)

    def num_rewards(self) -> int:
        return min(self._to, self._ledger.num_rewards())

    def rewards(self, start: int = 0) -> Iterator[RewardRecord]:
        return self._ledger.rewards(start) if self._knows_later else itertools.islice(self._ledger.rewards(start), max(self._to - start, 0))

    def replaced(self, start: int = 0) -> frozenset[str]:
        if isinstance(self._ledger, Corrects) and (self._knows_later or self._to >= self._ledger.num_rewards()):
            return self._ledger.replaced(start)
        return frozenset(reward.replaces for reward in self.rewards(start) if reward.replaces is not None)

    def outcomes(self, start: int = 0) -> Iterator[tuple[RewardRecord, DecisionRecord]]:
        return itertools.islice(self._ledger.outcomes(start), max(self._to - start, 0))

    def outcome_fields(self, start: int = 0) -> Iterator[tuple[RewardRecord, Sequence[Any]]]:
        return itertools.islice(outcome_fields(self._ledger, start), max(self._to - start, 0))


@contextlib.contextmanager
def recovered(
    stored: Ledger,
    to: int,
    policy: Policy[Any],
    scorers: Sequence[Any] | None,
    encoder: Any,
    challengers: Mapping[str, Policy[Any]],
    *,
    with_snapshot: bool = False,
    knows_later: bool = False,
) -> Iterator[Learner]:
    """Yields a learner that has recovered from a ledger as it was after reward `to`, with parts of its own, and closes it.

    With `knows_later` it has not learned what was corrected after that, where its state cannot forget it.
    """
    ledger: Any = _Until(stored, to, with_snapshot=with_snapshot, knows_later=knows_later)
    known = known_of(ledger, scorers or ())
    scorers = scorers_of(known) if scorers is None else intake.scorers(scorers)
    evidence = Evidence(encoder_of(known) if encoder is None else encoder, scorers)
    try:
        if evidence.settle(known, _no_history, ledger).present != known.present:
            _no_history()
        learner = Learner(policy, evidence, _catalogue(ledger, evidence), ledger, _contest(ledger, policy, challengers))
        try:
            learner.recover()
            yield learner
        finally:
            learner.close()
    finally:
        evidence.close()


def _no_history() -> NoReturn:
    raise LedgerMismatch("The parts given must be those that the folder was last opened with.")


def _contest(ledger: Ledger, champion: Policy[Any], given: Mapping[str, Policy[Any]]) -> Contest | None:
    """Returns the contest of the folder, whose roles `Learner.recover` reads; None where there is none."""
    roles = json.loads(ledger.get(ROLES) or "{}")
    stored = {name: told["part"] for name, told in roles["policies"].items()} if roles else {}
    for name, policy in given.items():
        if name not in stored:
            raise InvalidValue(f"challengers must have names of policies of the folder, {', '.join(map(repr, stored))}, got {name!r}.")
        changes = differences(stored[name], policy)
        if changes:
            raise LedgerMismatch(f"{name!r} must be the policy of the folder's trial: {'; '.join(changes)}.")
    if not roles:
        return None
    trial = trial_of(roles, champion, given)
    contest = Contest(Trials(challengers=trial.challengers), [trial.policy, *trial.challengers.values()])
    contest.bounds, contest.model = tuple(roles["bounds"]), roles["model"]
    return contest


def _catalogue(ledger: Ledger, evidence: Evidence) -> Catalogue:
    catalogue, records = Catalogue(evidence.dim), list(ledger.items())
    if records:
        items = items_from_stored(json.loads(record.row) for record in records)
        active = np.array([record.active for record in records], bool)
        catalogue.hold(catalogue.joined(items, np.zeros((len(records), evidence.dim), np.float32), active))
    return catalogue


def _states(learner: Learner) -> list[tuple[Any, Any]]:
    """Returns the policy, the challengers that have not failed, and the scorers, each with its state."""
    entries = [] if learner.contest is None else [entry for _, entry in sorted(learner.contest.entries.items()) if not entry.error]
    challengers = [(entry.policy, entry.state) for entry in entries]
    return [(learner.policy, learner.state), *challengers, *zip(learner.evidence.scorers, learner.evidence.states, strict=True)]


def _judged(learner: Learner) -> list[Any]:
    """Returns how the policies stand."""
    contest = learner.contest
    return [] if contest is None else [[name, *entry.gains, entry.error] for name, entry in sorted(contest.entries.items())]


def _digest(learner: Learner) -> str:
    digests = [*_judged(learner), *(states.digest(part, state) for part, state in _states(learner))]
    return hashlib.blake2b(json.dumps([learner.num_learned, *digests]).encode(), digest_size=16).hexdigest()


def _agreement(folded: Learner, restored: Learner, header: dict[str, Any]) -> Agreement:
    if _digest(folded) == _digest(restored):
        return "same"
    pairs = list(zip(_states(folded), _states(restored), strict=False))
    apart = max(states.distance(part, one, two) for (part, one), (_, two) in pairs)
    alike = [line[:2] + line[4:] for line in _judged(folded)] == [line[:2] + line[4:] for line in _judged(restored)]
    return "within rounding" if alike and apart <= TOLERANCE and header.get("arithmetic") != folded.arithmetic else "different"
