"""Opening a folder: making it, or reading what it has and fitting what is new in it."""

from __future__ import annotations

import functools
import json
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Events, Items
from recsdk.data import concatenate_items, items_from_stored, take
from recsdk.errors import ChangedSetting, IgnoredInput, InvalidValue, Untrained, warn
from recsdk.ledger import Ledger
from recsdk.live import contest, functions, intake, made, trials
from recsdk.live.catalogue import Catalogue
from recsdk.live.evidence import Evidence
from recsdk.live.learner import Learner
from recsdk.live.rewards import FEEDBACK, Feedback, stored_feedback
from recsdk.live.traffic import Traffic

RANGE = "reward_range"
"""Where the ledger keeps the range of rewards."""


class Given(NamedTuple):
    """The data given to `Recommender.open`.

    Attributes:
        items: rows of the catalogue.
        history: rows of events.
        unknown_items: "refuse" or "skip", for events about items that are not in the catalogue.
    """

    items: Any
    history: Any
    unknown_items: Any


class Terms(NamedTuple):
    """How rewards come into a folder.

    Attributes:
        reward_range: the least and the largest; None for any.
        feedback: None where the application gives the rewards itself.
    """

    reward_range: tuple[float, float] | None
    feedback: Feedback | None


def fill(ledger: Ledger, evidence: Evidence, catalogue: Catalogue, given: Given, terms: Terms, now: float) -> Items:
    """Makes a new folder, or reads a living one; returns the given items that a living one has never held."""
    items = intake.items(given.items, now)
    found = made.read(ledger, evidence.scorers)
    if found is not None:
        fresh = _renew(ledger, evidence, catalogue, found, given._replace(items=items), now)
    else:
        items = catalogue.place(items)
        _make(ledger, evidence, catalogue, given._replace(items=items), terms, now)
        fresh = take(items, slice(0))
    functions.notice(ledger, evidence.scorers)
    return fresh


def _make(ledger: Ledger, evidence: Evidence, catalogue: Catalogue, given: Given, terms: Terms, now: float) -> None:
    """Fits the models and keeps them with the items, all or nothing: a folder is made or it is not."""
    events = intake.events(given.items, given.history, now, given.unknown_items)
    for value in np.unique(events.reward).tolist():
        intake.reward(value, terms.reward_range)
    if evidence.encoder is not None and not len(events.item):
        text = f"The encoder {evidence.encoder!r} was fitted to nothing, and its score begins with weight 0 in the policy"
        warn(f"{text}: make the folder with history=, or leave the encoder out.", Untrained)
    with ledger.transaction():
        known = evidence.settle(None, lambda: events, ledger)
        ledger.put("salt", secrets.token_bytes(32))
        made.write(ledger, known)
        catalogue.hold(catalogue.kept(ledger, given.items, evidence.vectors(given.items), active=True))


def _renew(ledger: Ledger, evidence: Evidence, catalogue: Catalogue, found: made.Made, given: Given, now: float) -> Items:
    """Reads the catalogue and the models, and fits what is new in the folder."""
    records = list(ledger.items())
    items = items_from_stored(json.loads(record.row) for record in records)
    held = set(items.ids.tolist())
    fresh: Items = take(given.items, np.array([item_id not in held for item_id in given.items.ids.tolist()], bool))

    @functools.cache
    def events() -> Events:
        slots = np.arange(len(items.ids), len(items.ids) + len(fresh.ids))
        return intake.events(concatenate_items(items, fresh._replace(slot=slots)), given.history, now, given.unknown_items)

    with ledger.transaction():
        known = evidence.settle(found, events, ledger)
        active = np.array([record.active for record in records], bool)
        if (found.stored or found.vectors) != known.vectors:
            records = [record._replace(vector=vector) for record, vector in zip(records, evidence.vectors(items), strict=True)]
            for record in records:
                ledger.put_item(record)
        made.write(ledger, known)
    if records:
        catalogue.hold(catalogue.joined(items, np.stack([record.vector for record in records]), active))
    if (not isinstance(given.history, Sequence) or len(given.history)) and made.digest(events()) not in (*known.history, ""):
        before = "another one" if any(known.history) else "none"
        text = f"history is ignored: the models of this folder were fitted to {before}, and are not fitted again"
        warn(f"{text}. Leave it out, or make a new folder.", IgnoredInput)
    return fresh


def agree(ledger: Ledger, given: Terms) -> Terms:
    """Returns the terms that hold from now on: those given, and otherwise those that the folder keeps.

    Raises:
        InvalidValue: a range of rewards and a feedback; or what is no feedback.
    """
    if not isinstance(given.feedback, Feedback | None):
        raise InvalidValue(f"feedback must be a recsdk.Feedback, got {given.feedback!r}.")
    kept = _kept(ledger)
    terms = Terms(given.reward_range or kept.reward_range, given.feedback or kept.feedback)
    if None not in terms:
        raise InvalidValue(f"reward_range goes with rewards, not with a feedback, which has a cap: got {terms.reward_range}.")
    return terms


def compete(ledger: Ledger, learner: Learner, terms: Terms, traffic: Traffic) -> None:
    """Lets the policy and its challengers take up their roles; a promoted one that is not among them any more is said.

    Raises:
        InvalidValue: challengers, and no declared range of rewards, or a holdout that mixes with every decision.
    """
    if learner.contest is not None and traffic.holdout and traffic.holdout_by == "decision":
        raise InvalidValue("Traffic.holdout_by must be 'user' where there are trials, or none judges anybody, got 'decision'.")
    with ledger.transaction():
        if learner.contest is None:
            lost = contest.leave(ledger, learner.policy)
        else:
            bounds = trials.bounds_of(learner.contest.trials, terms.reward_range, terms.feedback)
            lost = learner.contest.enter(ledger, bounds, learner.evidence.model)
    if lost:
        text = f"The promoted policy {lost!r} is not among those given, and does not decide any more"
        warn(f"{text}: give it among trials=, or as policy=.", ChangedSetting)


def keep(ledger: Ledger, terms: Terms) -> None:
    """Writes the terms that are new to a folder, and warns of those that were others."""
    kept = _kept(ledger)
    for name, before, after in zip(Terms._fields, kept, terms, strict=True):
        if before not in (None, after):
            rest = "what was learned before stays" if name == RANGE else "also for the decisions that are open"
            warn(f"{name} was {before} in this folder, and is {after} from now on; {rest}.", ChangedSetting)
    if terms.reward_range != kept.reward_range:
        ledger.put(RANGE, json.dumps(terms.reward_range).encode())
    if terms.feedback is not None and terms.feedback != kept.feedback:
        ledger.put(FEEDBACK, terms.feedback.dumps())


def _kept(ledger: Ledger) -> Terms:
    bounds = json.loads(ledger.get(RANGE) or "null")
    return Terms(None if bounds is None else tuple(bounds), stored_feedback(ledger))
