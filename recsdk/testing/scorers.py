"""Laws of scorers: finite float32 columns for any candidates, whatever their order, from a state that can be saved."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any

import numpy as np

from recsdk import states
from recsdk.base import Events, FoldsOnline, Items, Online, Request, Scorer
from recsdk.data import take
from recsdk.testing import events
from recsdk.testing.costs import assert_in_time, assert_nothing_left
from recsdk.testing.declarations import assert_is_value
from recsdk.testing.processes import compare
from recsdk.testing.purity import assert_no_global_randomness, in_threads
from recsdk.testing.states import brief, explained, rebuilt, reloaded

ORDER_TOLERANCE = 1e-5
"""Relative to the largest score of a column: sums in float32 may be taken in another order."""


def check_declaration(scorer: Scorer[Any], *, log: Events | None = None) -> None:
    """It is a hashable value that equals another of the same fields."""
    del log
    assert_is_value(scorer, repr(scorer))


def check_columns(scorer: Scorer[Any], *, log: Events | None = None) -> None:
    """It names its columns, each once."""
    del log
    columns = scorer.columns
    good = isinstance(columns, tuple) and len(columns) > 0 and all(isinstance(column, str) and column for column in columns)
    assert good, f"columns: {scorer!r}: columns must be a tuple of names, such as ('age',), got {columns!r}"
    assert len(set(columns)) == len(columns), f"columns: {scorer!r}: columns must differ, got {columns!r}"


def check_scores(scorer: Scorer[Any], *, log: Events | None = None) -> None:
    """It returns finite float32, a row per candidate, after a log, after none, and for requests and items that the log does not have."""
    log = log or events.example_log()
    empty = events.empty(log)
    lives = (
        ("after init", scorer.init),
        ("after a log without events", lambda: scorer.fit(empty)),
        ("after a log", lambda: scorer.fit(log)),
    )
    for when, life in lives:
        state = life()
        for asked, request in (("a request of the log", events.request(log, 0)), ("a request unlike any", events.unseen_request(log))):
            for catalogue in (log.items, events.with_unseen_item(log)):
                for part in events.parts(catalogue):
                    new = ", one of them new since the fit, with a slot beyond all others," if catalogue is not log.items else ""
                    where = f"scores: {scorer!r} {when}, of {len(part)} candidates{new} for {asked},"
                    with explained(where):
                        scores = scorer.score(state, request, take(catalogue, part))
                    _assert_scores(where, scorer, scores, len(part))
        states.close(scorer, state)


def _assert_scores(where: str, scorer: Scorer[Any], scores: Any, num: int) -> None:
    shape = (num, len(scorer.columns))
    got = f"{getattr(scores, 'dtype', type(scores))}{list(getattr(scores, 'shape', []))}"
    assert isinstance(scores, np.ndarray), f"{where} must return an array, got {type(scores).__name__}"
    assert scores.dtype == np.float32, f"{where} must return float32{list(shape)}, got {got}"
    assert scores.shape == shape, f"{where} must return float32{list(shape)}, got {got}"
    assert np.isfinite(scores).all(), f"{where} must return finite numbers, got {brief(scores)}"


def check_order(scorer: Scorer[Any], *, log: Events | None = None) -> None:
    """Permuting the candidates permutes the rows."""
    log = log or events.example_log()
    state, request = scorer.fit(log), events.request(log, 0)
    order = np.random.default_rng(0).permutation(len(log.items.ids))
    plain, permuted = scorer.score(state, request, log.items)[order], scorer.score(state, request, take(log.items, order))
    scale = np.abs(plain).max(axis=0).clip(min=1)
    assert (np.abs(plain - permuted) <= ORDER_TOLERANCE * scale).all(), (
        f"order: {scorer!r} must score permuted candidates as it scores them in order, {brief(plain)}, got {brief(permuted)}"
    )
    states.close(scorer, state)


def check_purity(scorer: Scorer[Any], *, log: Events | None = None) -> None:
    """It writes to nothing that it is given, and scores a request twice the same, also after another fit."""
    log = log or events.example_log()
    frozen = events.read_only(log)
    request = events.request(log, 0)
    try:
        state = scorer.fit(frozen)
        first = np.array(scorer.score(state, request, frozen.items))
        state = _updated(scorer, state, log, frozen.items, range(0)) if isinstance(scorer, Online) else state
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise AssertionError(f"purity: {scorer!r} must not write to the log or the candidates it is given: {error}") from error
    scorer.score(state, events.unseen_request(log), events.with_unseen_item(log))
    again = scorer.fit(log)
    for how, scores in (
        ("when asked again", scorer.score(state, request, log.items)),
        ("when fitted again", scorer.score(again, request, log.items)),
    ):
        assert np.array_equal(scores, first), f"purity: {scorer!r} must give the same scores {how}, {brief(first)}, got {brief(scores)}"
    states.close(scorer, state)
    states.close(scorer, again)


def check_snapshot(scorer: Scorer[Any], *, log: Events | None = None) -> None:
    """A state saved, and loaded by another process, scores and learns bit for bit as it did."""
    log = log or events.example_log()
    state = scorer.fit(log)
    data = states.dumps(scorer, state)
    other_process = rebuilt(scorer)
    loaded = reloaded(other_process, data)
    if isinstance(scorer, Online):
        state, loaded = (_updated(owner, kept, log, log.items, range(20)) for owner, kept in ((scorer, state), (other_process, loaded)))
    request = events.request(log, 0)
    wanted, got = scorer.score(state, request, log.items), other_process.score(loaded, request, log.items)
    assert np.array_equal(got, wanted), f"snapshot: {scorer!r}, saved and loaded, must score {brief(wanted)}, got {brief(got)}"
    states.close(scorer, state)
    states.close(other_process, loaded)


def check_randomness(scorer: Scorer[Any], *, log: Events | None = None) -> None:
    """Fitting and scoring leave the generators of `numpy.random` and `random` alone."""
    log = log or events.example_log()
    assert_no_global_randomness(repr(scorer), lambda: _fitted(scorer, log))


def check_processes(scorer: Scorer[Any], *, log: Events | None = None) -> None:
    """Fitted in other processes, with other seeds of Python's hashes, it scores bit for bit as in this one."""
    if log is not None:
        raise unittest.SkipTest("other processes have the example's log only")
    compare(scorer, repr(scorer), "scorer")


def check_threads(scorer: Scorer[Any], *, log: Events | None = None) -> None:
    """Two threads that fit and score at once get what each gets alone."""
    log = log or events.example_log()
    wanted = _fitted(scorer, log)
    for got in in_threads([lambda: _fitted(scorer, log)] * 2):
        assert np.array_equal(got, wanted), f"threads: {scorer!r} must score in two threads as in one, {brief(wanted)}, got {brief(got)}"


def check_memory(scorer: Scorer[Any], *, log: Events | None = None) -> None:
    """Scoring leaves nothing behind."""
    log = log or events.example_log()
    state, requests = scorer.fit(log), [events.request(log, row) for row in range(min(20, len(log.item)))]
    assert_nothing_left(repr(scorer), lambda number: _scored(scorer, state, requests[number % len(requests)], log.items))
    states.close(scorer, state)


def check_speed(scorer: Scorer[Any], *, log: Events | None = None) -> None:
    """Scoring takes at most 50 ms for 100 candidates."""
    log = log or events.example_log()
    items = take(log.items, np.arange(min(100, len(log.items.ids))))
    state, request = scorer.fit(log), events.request(log, 0)
    assert_in_time(f"{scorer!r} of {len(items.ids)} candidates", lambda _: _scored(scorer, state, request, items))
    states.close(scorer, state)


def _scored(scorer: Scorer[Any], state: Any, request: Request, items: Items) -> None:
    scorer.score(state, request, items)


def _fitted(scorer: Scorer[Any], log: Events) -> np.ndarray:
    state = scorer.fit(log)
    scores = np.array(scorer.score(state, events.request(log, 0), log.items))
    states.close(scorer, state)
    return scores


def check_online(scorer: Scorer[Any], *, log: Events | None = None) -> None:
    """Where it learns live, it takes rewards of any sign, of users and items that are new, and still scores; at once as one by one."""
    if not isinstance(scorer, Online):
        raise unittest.SkipTest("it does not learn live")
    log = log or events.example_log()
    catalogue = events.with_unseen_item(log)
    state: Any = scorer.fit(events.empty(log))
    requests = [events.request(log, 0), events.unseen_request(log)]
    for reward in (1.0, 0.0, -1.0, 1000.0):
        for request in requests:
            for place in (0, len(catalogue.ids) - 1):
                state = _updated_once(scorer, state, request, take(catalogue, np.array([place])), reward)
                scores = scorer.score(state, request, catalogue)
                _assert_scores(f"online: {scorer!r} after a reward of {reward:g}", scorer, scores, len(catalogue.ids))
    if isinstance(scorer, FoldsOnline):
        _assert_folds(scorer, log)
    states.close(scorer, state)


def _assert_folds(scorer: Scorer[Any], log: Events) -> None:
    """Compares what a scorer learns at once with what it learns reward by reward."""
    rows = range(min(50, len(log.item)))
    requests, rewards = [events.request(log, row) for row in rows], [float(log.reward[row]) - row % 2 for row in rows]
    one_by_one, at_once = scorer.fit(events.empty(log)), scorer.fit(events.empty(log))
    for row in rows:
        one_by_one = _updated_once(scorer, one_by_one, requests[row], take(log.items, log.item[row : row + 1]), rewards[row])
    for piece in (slice(0, 7), slice(7, 7), slice(7, None)):
        slots = log.items.slot[log.item[rows[piece]]].tolist()
        at_once = scorer.fold(at_once, requests[piece], slots, rewards[piece])  # type: ignore[attr-defined]  # the caller has asked for it
    wanted, got = states.dumps(scorer, one_by_one), states.dumps(scorer, at_once)
    assert got == wanted, f"online: {scorer!r} must learn at once, by fold, to the last bit what it learns by update"
    states.close(scorer, one_by_one)
    states.close(scorer, at_once)


def _updated(scorer: Any, state: Any, log: Events, items: Items, rows: range) -> Any:
    for row in rows:
        request: Request = events.request(log, row)
        state = _updated_once(scorer, state, request, take(items, log.item[row : row + 1]), float(log.reward[row]))
    return state


def _updated_once(scorer: Any, state: Any, request: Request, item: Items, reward: float) -> Any:
    with explained(f"online: {scorer!r}: update, with a reward of {reward:g},"):
        after = scorer.update(state, request, item, reward)
    assert after is not None or state is None, f"online: {scorer!r}: update must return the state after the reward, got None"
    return after


SCORER_CHECKS: tuple[Callable[..., None], ...] = (
    check_declaration,
    check_columns,
    check_scores,
    check_randomness,
    check_order,
    check_purity,
    check_snapshot,
    check_online,
    check_processes,
    check_threads,
    check_memory,
    check_speed,
)
"""The laws of scorers: each takes a scorer, and a log where the example's features will not do."""
