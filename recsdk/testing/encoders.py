"""Laws of encoders: finite float32 vectors of the declared width, a row for each request and item whatever stands beside it."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any

import numpy as np

from recsdk import states
from recsdk.base import Encoder, Events
from recsdk.data import requests_table, take
from recsdk.testing import events
from recsdk.testing.costs import assert_in_time
from recsdk.testing.declarations import assert_is_value
from recsdk.testing.processes import compare
from recsdk.testing.purity import assert_no_global_randomness
from recsdk.testing.states import brief, explained, rebuilt, reloaded

LEAST_RIGHT = 0.7
"""Share of pairs in the right order; random vectors have a half, with a standard deviation of 0.08."""

ROW_TOLERANCE = 1e-5
"""Relative to the largest coordinate: a matrix product of another height may sum in another order."""


def check_declaration(encoder: Encoder[Any], *, log: Events | None = None) -> None:
    """It is a hashable value that equals another of the same fields."""
    del log
    assert_is_value(encoder, repr(encoder))


def check_vectors(encoder: Encoder[Any], *, log: Events | None = None) -> None:
    """It returns finite float32 of width `dim`, after a log, after none, and for requests and items that the log does not have."""
    is_width = isinstance(encoder.dim, int) and encoder.dim >= 1
    assert is_width, f"vectors: {encoder!r}: dim must be a whole number >= 1, got {encoder.dim!r}"
    log = log or events.example_log()
    requests = requests_table([events.request(log, 0).features, events.request(log, 1).features, events.unseen_request(log).features])
    items = events.with_unseen_item(log)
    empty = events.empty(log)
    lives = (
        ("after init", encoder.init),
        ("after a log without events", lambda: encoder.fit(empty)),
        ("after a log", lambda: encoder.fit(log)),
    )
    for when, life in lives:
        state = life()
        with explained(f"vectors: {encoder!r} {when}: encode_requests, of known and unknown values,"):
            users = encoder.encode_requests(state, requests)
        with explained(f"vectors: {encoder!r} {when}: encode_items, with one that is new since the fit,"):
            vectors = encoder.encode_items(state, items)
        _assert_vectors(f"vectors: {encoder!r} {when}: encode_requests", encoder, users, 3)
        _assert_vectors(f"vectors: {encoder!r} {when}: encode_items", encoder, vectors, len(items.ids))
        states.close(encoder, state)


def _assert_vectors(where: str, encoder: Encoder[Any], vectors: Any, num: int) -> None:
    wanted = (num, encoder.dim)
    assert isinstance(vectors, np.ndarray), f"{where} must return a NumPy array, got {type(vectors).__name__}"
    got = f"{vectors.dtype}{list(vectors.shape)}"
    assert got == f"float32{list(wanted)}", f"{where} must return float32{list(wanted)}, got {got}"
    assert np.isfinite(vectors).all(), f"{where} must return finite numbers, got {brief(vectors)}"


def check_learns(encoder: Encoder[Any], *, log: Events | None = None) -> None:
    """Fitted to users who take one item in four, it scores these above others, and not the same for every user."""
    if log is not None:
        raise unittest.SkipTest("only the example's log is known to have something to learn")
    log = events.example_log()
    state = encoder.fit(log)
    scores = encoder.encode_requests(state, log.requests) @ encoder.encode_items(state, log.items).T
    scores = (scores - scores.mean(axis=0))[np.arange(len(log.item)), log.item]  # less what an item has with every user
    taken, other = scores[log.reward > 0], scores[log.reward == 0]
    share = float(((taken[:, None] > other) + 0.5 * (taken[:, None] == other)).mean())
    assert share >= LEAST_RIGHT, (
        f"learns: {encoder!r}: less what an item scores on average, what a user took must score above what was not taken in at least "
        f"{LEAST_RIGHT:g} of the cases, got {share:.3f}: does it read the request, and learn from the reward?"
    )
    states.close(encoder, state)


def check_rows(encoder: Encoder[Any], *, log: Events | None = None) -> None:
    """A request or item has the same vector alone, in any order and among any others."""
    log = log or events.example_log()
    state = encoder.fit(log)
    items = encoder.encode_items(state, log.items)
    requests = encoder.encode_requests(state, log.requests)
    for part in events.parts(log.items):
        table = {name: column[part] for name, column in log.requests.items()}
        _assert_close(
            f"rows: {encoder!r}: encode_items of {len(part)} items", encoder.encode_items(state, take(log.items, part)), items[part]
        )
        _assert_close(f"rows: {encoder!r}: encode_requests of {len(part)} requests", encoder.encode_requests(state, table), requests[part])
    states.close(encoder, state)


def check_purity(encoder: Encoder[Any], *, log: Events | None = None) -> None:
    """It writes to nothing that it is given, and the same log and seed give the same model."""
    log = log or events.example_log()
    frozen = events.read_only(log)
    try:
        one = encoder.fit(frozen, seed=1)
        first = encoder.encode_items(one, frozen.items), encoder.encode_requests(one, frozen.requests)
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise AssertionError(f"purity: {encoder!r} must not write to the log it is given: {error}") from error
    other = encoder.fit(log, seed=1)
    again = encoder.encode_items(other, log.items), encoder.encode_requests(other, log.requests)
    for what, got, wanted in zip(("items", "requests"), again, first, strict=True):
        assert np.array_equal(got, wanted), (
            f"purity: {encoder!r}, fitted again with the same seed, must give the {what} {brief(wanted)}, got {brief(got)}"
        )
    states.close(encoder, one)
    states.close(encoder, other)


def check_snapshot(encoder: Encoder[Any], *, log: Events | None = None) -> None:
    """A state saved, and loaded by another process, encodes bit for bit as it did, and can be trained on."""
    log = log or events.example_log()
    state = encoder.fit(log)
    other_process = rebuilt(encoder)
    loaded = reloaded(other_process, states.dumps(encoder, state))
    wanted, got = encoder.encode_items(state, log.items), other_process.encode_items(loaded, log.items)
    assert np.array_equal(got, wanted), (
        f"snapshot: {encoder!r}, saved and loaded, must encode the items as {brief(wanted)}, got {brief(got)}"
    )
    more = other_process.fit(log, state=loaded)
    _assert_vectors(
        f"snapshot: {encoder!r}, loaded and trained on: encode_items",
        encoder,
        other_process.encode_items(more, log.items),
        len(log.items.ids),
    )
    states.close(encoder, state)
    states.close(other_process, more)


def check_randomness(encoder: Encoder[Any], *, log: Events | None = None) -> None:
    """Its random numbers follow from the seed; the generators of `numpy.random` and `random` are left alone."""
    log = log or events.example_log()

    def fitted() -> np.ndarray:
        state = encoder.fit(log)
        vectors = np.array(encoder.encode_items(state, log.items))
        states.close(encoder, state)
        return vectors

    assert_no_global_randomness(repr(encoder), fitted)


def check_processes(encoder: Encoder[Any], *, log: Events | None = None) -> None:
    """Fitted in other processes, with other seeds of Python's hashes, it encodes bit for bit as in this one."""
    if log is not None:
        raise unittest.SkipTest("other processes have the example's log only")
    compare(encoder, repr(encoder), "encoder")


def check_speed(encoder: Encoder[Any], *, log: Events | None = None) -> None:
    """Encoding a request takes at most 50 ms."""
    log = log or events.example_log()
    state, requests = encoder.fit(log), requests_table([events.request(log, 0).features])

    def encode(_: int) -> None:
        encoder.encode_requests(state, requests)

    assert_in_time(f"{encoder!r}, encoding a request,", encode)
    states.close(encoder, state)


def _assert_close(where: str, got: np.ndarray, wanted: np.ndarray) -> None:
    apart = float(np.abs(got - wanted).max()) / max(1.0, float(np.abs(wanted).max()))
    assert apart <= ROW_TOLERANCE, f"{where} must be the rows of all, {brief(wanted)}, got {brief(got)}"


ENCODER_CHECKS: tuple[Callable[..., None], ...] = (
    check_declaration,
    check_vectors,
    check_randomness,
    check_rows,
    check_purity,
    check_snapshot,
    check_processes,
    check_learns,
    check_speed,
)
"""The laws of encoders: each takes an encoder, and a log where the example's features will not do."""
