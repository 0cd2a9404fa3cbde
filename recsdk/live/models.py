"""Other models while a recommender serves: made and tried aside, published in one step, and kept for the way back.

An encoder and its scorers are one model, with one version. Until it is published nothing but memory has changed; then one transaction of
the ledger changes all. So after a crash the folder has the one model or the other, and each decision names the one that made it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Events, Items, Request
from recsdk.data import items_from_stored
from recsdk.errors import EmptyCandidates, InvalidValue, LedgerMismatch, ModelRefused, UnknownItem
from recsdk.ledger import ItemRecord, Ledger
from recsdk.live import histories, intake, made
from recsdk.live.catalogue import Catalogue
from recsdk.live.deciding import Decider
from recsdk.live.evidence import Evidence
from recsdk.live.guard import Features
from recsdk.live.identity import differences
from recsdk.live.learner import Learner
from recsdk.live.made import Made
from recsdk.live.parts import built, latest

NUM_TRIED = 64
"""Stored requests that a model must answer before it is published; answering them also warms it."""


class Model(NamedTuple):
    """A model that can serve, with what has been learned by it.

    Attributes:
        learner: with its evidence and its catalogue.
        decider: over that learner.
        known: the parts of it.
        fitted: what its parts were fitted to, by the names under which the ledger keeps it.
        rows: the items that it has encoded, by slot.
    """

    learner: Learner
    decider: Decider
    known: Made
    fitted: dict[str, bytes]
    rows: dict[int, str]

    @property
    def evidence(self) -> Evidence:
        """Its encoder and scorers."""
        return self.learner.evidence

    def close(self) -> None:
        """Frees what native parts hold."""
        self.learner.close()
        self.evidence.close()


class Staged:
    """A ledger with some bytes in memory in place of its own."""

    def __init__(self, ledger: Ledger, fitted: dict[str, bytes]) -> None:
        self._ledger = ledger
        self.fitted = dict(fitted)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def get(self, name: str) -> bytes | None:
        """Returns the bytes of a name."""
        return self.fitted.get(name) or self._ledger.get(name)

    def put(self, name: str, data: bytes) -> None:
        """Keeps bytes in memory."""
        self.fitted[name] = data


@contextlib.contextmanager
def refusing(doing: str) -> Iterator[None]:
    """Names what a model failed at; the one that serves is not touched.

    Raises:
        ModelRefused: from whatever was raised.
    """
    try:
        yield
    except ModelRefused:
        raise
    except Exception as error:
        raise ModelRefused(f"The model could not {doing}, and the one before serves on: {type(error).__name__}: {error}") from error


def prepared(reading: Ledger, serving: Learner, decider: Callable[[Learner], Decider], evidence: Evidence, given: Any, now: float) -> Model:
    """Fits a model to a history, folds the log by it, and tries it; the recommender serves meanwhile.

    Args:
        reading: the ledger as it is at this moment.
        serving: what serves; it is only looked at.
        decider: makes a decider for a learner.
        evidence: the parts, not fitted yet.
        given: an `opening.Given` with the history; without one, only what is new in the folder is fitted.
        now: seconds since the epoch.

    Raises:
        ModelRefused: it cannot be fitted, learn from the log, or answer stored requests.
    """
    records = list(reading.items())
    items = items_from_stored(json.loads(record.row) for record in records)
    known = made.read(reading, evidence.scorers)
    assert known is not None  # noqa: S101 -- a folder that is open was made
    history = intake.events(items, given.history, now, given.unknown_items)
    return _model(reading, {}, serving, decider, evidence, known, records, lambda: history, bool(len(history.item)))


def brought_back(reading: Ledger, serving: Learner, decider: Callable[[Learner], Decider], name: str) -> Model:
    """Makes a kept model again, with its parts by name and settings, and folds the log by it.

    Raises:
        ModelRefused: a part that cannot be made from what the folder says of it.
    """
    with refusing("be made again"):
        kept = json.loads(reading.get(f"model/{name}") or "null")
        if kept is None:
            raise LedgerMismatch(f"The ledger has no model {name!r}.")
        known, now = made.from_json(kept), made.read(reading)
        if now is not None:
            known = known._replace(scorers=now.scorers)  # others may have come since, with numbers of their own
        fitted = {where: reading.get(f"model/{name}/{where}") or b"" for where in _where(known)}
        own = [serving.evidence.encoder, *serving.evidence.scorers]
        encoder = _part(known.encoder, own) if known.vectors != "none" else None
        evidence = Evidence(encoder, [_part(known.scorers[number].part, own) for number in known.present])
    return _model(reading, fitted, serving, decider, evidence, known, list(reading.items()), _no_history, refit=False)


def serving(ledger: Ledger, learner: Learner, decider: Decider) -> Model:
    """Returns the model that serves."""
    known = made.read(ledger)
    assert known is not None  # noqa: S101 -- a folder that is open was made
    return Model(learner, decider, known, _fitted(known, ledger), {record.slot: record.row for record in ledger.items()})


def _no_history() -> Events:
    raise LedgerMismatch("The parts must be those that the model was made of.")


def _part(stored: Any, own: list[Any]) -> Any:
    same = (part for part in own if part is not None and not differences(stored, part))
    return next(same, None) or built(stored)


def _model(
    reading: Ledger,
    fitted: dict[str, bytes],
    serving: Learner,
    decider: Callable[[Learner], Decider],
    evidence: Evidence,
    known: Made,
    records: list[ItemRecord],
    history: Callable[[], Events],
    refit: bool,
) -> Model:
    staged: Any = Staged(reading, fitted)
    items = items_from_stored(json.loads(record.row) for record in records)
    learner = None
    try:
        with refusing("be fitted"):
            known = evidence.settle(known, history, staged, refit=refit)
            catalogue = Catalogue(evidence.dim, serving.catalogue.given)
            active = np.array([record.active for record in records], bool)
            catalogue.hold(catalogue.joined(items, evidence.vectors(items), active))
        contest = None if serving.contest is None else serving.contest.renewed(evidence.model)
        learner = Learner(serving.policy, evidence, catalogue, staged, contest)
        with refusing("learn from the log"):
            learner.fold()
        with refusing("answer stored requests"):
            _try(decider(learner), reading)
        return Model(learner, decider(learner), known, _fitted(known, staged), {record.slot: record.row for record in records})
    except BaseException:
        if learner is not None:
            learner.close()
        evidence.close()
        raise


def _where(known: Made) -> list[str]:
    return ["fitted/encoder"] * (known.vectors != "none") + [f"fitted/scorer{number}" for number in known.present]


def _fitted(known: Made, ledger: Any) -> dict[str, bytes]:
    return {where: ledger.get(where) for where in _where(known)}


def _try(decider: Decider, reading: Ledger) -> None:
    """Answers the newest stored requests: vectors, scores and probabilities must be what they have to be."""
    decider.start(reading)
    for record in latest(reading, NUM_TRIED):
        if not len(record.action):
            continue  # of a user who is forgotten
        asked = json.loads(record.payload)
        request = Request(Features(histories.features(asked)), record.time)
        try:
            found = decider.candidates(record.decision_id, request, asked["candidates"], asked["seen"])
        except (EmptyCandidates, UnknownItem):
            continue  # of items that are gone
        decider.decide(record.decision_id, record.time, min(asked["size"], len(found.slots)), found, record.payload)


def publish(model: Model, ledger: Ledger, serving: Learner, *, encodes: bool) -> None:
    """Brings a model up to date and writes it, inside a transaction; it may serve when that is durable.

    Args:
        model: what is to serve.
        ledger: of the folder.
        serving: what has served.
        encodes: whether the vectors of all items are written; without, the next opening writes them.

    Raises:
        ModelRefused: it cannot learn what came meanwhile.
    """
    before = made.read(ledger)
    assert before is not None  # noqa: S101 -- a folder that is open was made
    _keep(ledger, serving.evidence.model, before)
    for where, data in model.fitted.items():
        ledger.put(where, data)
    stored = before.stored or before.vectors
    with refusing("take up what came meanwhile"):
        are_right = stored == before.vectors == model.known.vectors  # after a rollback those of two models may be there
        _take_up_items(model, ledger, all_vectors=encodes and not are_right)
        scorers = max(before.scorers, model.known.scorers, key=len)  # none is ever taken away
        made.write(ledger, model.known._replace(stored=model.known.vectors if encodes else stored, scorers=scorers))
        model.learner.take_up(ledger, serving)


def _keep(ledger: Ledger, name: str, known: Made) -> None:
    """Keeps the model that serves, for the way back."""
    if ledger.get(f"model/{name}") is None:
        for where in _where(known):
            ledger.put(f"model/{name}/{where}", ledger.get(where) or b"")
    ledger.put(f"model/{name}", json.dumps(made.to_json(known)).encode())


def _take_up_items(model: Model, ledger: Ledger, *, all_vectors: bool) -> None:
    """Encodes the items that have changed since the model was made."""
    catalogue, records = model.learner.catalogue, list(ledger.items())
    if not records:
        return
    changed = np.array([model.rows.get(record.slot) != record.row for record in records])
    items: Items = items_from_stored(json.loads(record.row) for record in records)
    vectors = np.zeros((len(records), model.evidence.dim), np.float32)
    vectors[~changed] = catalogue.vectors[np.flatnonzero(~changed)]
    if changed.any():
        fresh = items_from_stored(json.loads(record.row) for record, new in zip(records, changed.tolist(), strict=True) if new)
        vectors[changed] = model.evidence.vectors(fresh)
    catalogue.hold(catalogue.joined(items, vectors, np.array([record.active for record in records], bool)))
    model.rows.update({record.slot: record.row for record in records})
    if all_vectors:
        for record, vector in zip(records, vectors, strict=True):
            ledger.put_item(record._replace(vector=vector))


def refuse_nothing_to_go_back_to(reasons: list[str]) -> None:
    """Refuses to go back where nothing has changed while it served.

    Raises:
        InvalidValue: the last change was an opening or a way back.
    """
    if reasons[-1:] not in (["swapped"], ["promoted"]):
        raise InvalidValue("There is nothing to go back to: the last change of what serves must be a swap or a promotion.")
