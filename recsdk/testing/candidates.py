"""Laws of one answer: it is a distribution, and has no favourites among places."""

from __future__ import annotations

import unittest
from typing import Any, Protocol, runtime_checkable

import numpy as np

from recsdk.base import Context, Policy
from recsdk.testing import answers, inputs, states
from recsdk.testing.inputs import DIM, Case
from recsdk.testing.states import TOLERANCE, brief, name, on_numpy

NUM_UPDATES = 40
NUM_RANDOM = 500
MOST_AVERAGED = 17
"""Candidates, where answers are compared on average over many seeds: more takes long."""


def check_shapes(policy: Policy[Any]) -> None:
    """Probs are an array float64[K] for 1 to 100 candidates of 1 to 64 features, with and without padding."""
    policy = on_numpy(policy)
    for dim, sizes in inputs.SIZES.items():
        state = states.learned(policy, inputs.log(NUM_UPDATES, 5, dim))
        for case in [inputs.case(num, dim, padded=padded) for num in sizes for padded in (False, True)]:
            probs, (num,) = policy.probs(state, np.random.default_rng(0), case.context), case.context.mask.shape
            got = f"{getattr(probs, 'dtype', type(probs))}{list(getattr(probs, 'shape', []))}"
            is_right = isinstance(probs, np.ndarray) and probs.dtype == np.float64 and probs.shape == (num,)
            assert is_right, f"shapes: {name(policy)} on {case.name}: probs must be an array float64[{num}], got {got}"
        states.close(policy, state)


def check_distribution(policy: Policy[Any]) -> None:
    """Probs are finite, >= 0, sum to 1 and are zero on padding, for 500 random contexts."""
    policy = on_numpy(policy)
    sizes = inputs.SIZES[DIM]
    num_each = NUM_RANDOM // (2 * len(sizes))
    cases = [inputs.case(num, DIM, seed=seed, padded=padded) for num in sizes for seed in range(num_each) for padded in (False, True)]
    state = states.learned(policy, inputs.log(NUM_UPDATES, 5, DIM))
    for case in cases:
        _assert_distribution("distribution", policy, state, case, f"after {NUM_UPDATES} updates")
    states.close(policy, state)


def check_extremes(policy: Policy[Any]) -> None:
    """Probs are a distribution for features, and so scores, from 5e-324 to 1e30, tied and mixed, before and after learning."""
    policy = on_numpy(policy)
    for dim in (1, DIM):
        cases = [inputs.case(num, dim, kind, padded=True) for num in inputs.SIZES[dim] for kind in inputs.KINDS]
        cases += [inputs.extreme(which, dim) for which in inputs.EXTREMES]
        for when, kind in (("before any update", None), ("after 40 updates", "normal"), ("after 40 updates of extreme features", "mixed")):
            state = states.learned(policy, inputs.at(inputs.log(NUM_UPDATES, 5, dim, kind or "normal"), slice(NUM_UPDATES if kind else 0)))
            for case in cases:
                _assert_distribution("extremes", policy, state, case, when)
            states.close(policy, state)


def _assert_distribution(law: str, policy: Policy[Any], state: Any, case: Case, when: str) -> None:
    wrong = _wrong(np.asarray(policy.probs(state, np.random.default_rng(0), case.context)), case.context.mask)
    assert not wrong, f"{law}: {name(policy)} on {case.name}, {when}: {wrong}"


def _wrong(probs: np.ndarray, mask: np.ndarray) -> str:
    if not np.isfinite(probs).all():
        return f"probs must be finite, got {brief(probs)}"
    if not (probs >= 0).all():
        return f"probs must be >= 0, got {brief(probs)}"
    if abs(probs.sum() - 1) > 1e-9:
        return f"probs must sum to 1, got {brief(probs)} with sum {probs.sum()!r}"
    if probs[~mask].any():
        return f"probs must be 0 on padding, got {brief(probs)} for the mask {brief(mask)}"
    return ""


@runtime_checkable
class Floored(Protocol):
    """A policy that promises every one of K candidates a probability of at least `floor` / K."""

    @property
    def floor(self) -> float:
        """The share of uniform exploration."""


def check_floor(policy: Policy[Any]) -> None:
    """Where it has a `floor`, every one of K candidates gets at least floor / K, at any scores."""
    if not isinstance(policy, Floored):
        raise unittest.SkipTest("it has no field `floor`")
    least, policy = policy.floor, on_numpy(policy)
    cases = [inputs.case(num, 1, kind, padded=padded) for num in inputs.SIZES[1] for kind in inputs.KINDS for padded in (False, True)]
    cases += [inputs.extreme(which, 1) for which in inputs.EXTREMES]
    for num_updates in (0, NUM_UPDATES):
        state = states.learned(policy, inputs.at(inputs.log(NUM_UPDATES, 5, 1), slice(num_updates)))
        for case in cases:
            mask, probs = case.context.mask, policy.probs(state, np.random.default_rng(0), case.context)
            wanted = least / mask.sum()
            assert (probs[mask] >= wanted * (1 - 1e-9)).all(), (
                f"floor: {name(policy)} on {case.name}, after {num_updates} updates: each of {mask.sum()} candidates must get at least "
                f"{least:g} / {mask.sum()} = {wanted:.6g}, got {brief(probs)}"
            )
        states.close(policy, state)


def check_order(policy: Policy[Any], *, tolerance: float = TOLERANCE) -> None:
    """Permuting the candidates permutes the answer."""

    def permuted(case: Case) -> tuple[Context, np.ndarray]:
        order = np.random.default_rng(1).permutation(len(case.context.mask))
        return Context(*(field[order] for field in case.context)), np.argsort(order)

    cases = [inputs.case(num, DIM, kind, padded=num > 3) for num in (2, 3, 17, 100) for kind in ("normal", "half tied")]
    _check_same("order", "with its candidates permuted", policy, cases, permuted, tolerance)


def check_padding(policy: Policy[Any], *, tolerance: float = TOLERANCE) -> None:
    """Padding, before, between and after the candidates and however good its features look, changes nothing."""

    def padded(case: Case) -> tuple[Context, np.ndarray]:
        features, mask, item = case.context
        places = 2 * np.arange(len(mask)) + 1
        wide = Context(np.full((2 * len(mask) + 1, DIM), 50.0), np.zeros(2 * len(mask) + 1, bool), np.zeros(2 * len(mask) + 1, np.int64))
        for target, source in zip(wide, (features, mask, item), strict=True):
            target[places] = source
        return wide, places

    cases = [inputs.case(num, DIM, kind) for num in (1, 2, 3, 15) for kind in ("normal", "half tied")]
    _check_same("padding", "with padding around its candidates", policy, cases, padded, tolerance)


def _check_same(law: str, how: str, policy: Policy[Any], cases: list[Case], change: Any, tolerance: float) -> None:
    policy = on_numpy(policy)
    for num_updates in (0, NUM_UPDATES):
        state = states.learned(policy, inputs.at(inputs.log(NUM_UPDATES, 5, DIM), slice(num_updates)))
        exact = not answers.draws_per_candidate(policy, state, DIM)
        for case in cases if exact else [case for case in cases if len(case.context.mask) <= MOST_AVERAGED]:
            context, places = change(case)
            plain = answers.answer(policy, state, case.context, exact=exact)
            changed = answers.Answer(*(field[places] for field in answers.answer(policy, state, context, exact=exact)))
            assert answers.excess(plain, changed, tolerance) <= 0, (
                f"{law}: {name(policy)} on {case.name}, after {num_updates} updates, must answer {how} as it does without, "
                f"got {brief(changed.mean)} for {brief(plain.mean)}"
            )
        states.close(policy, state)


def check_ties(policy: Policy[Any], *, tolerance: float = TOLERANCE) -> None:
    """Candidates with equal features, of items that nothing is known of, get equal probabilities."""
    policy = on_numpy(policy)
    for num_updates in (0, NUM_UPDATES):
        state = states.learned(policy, inputs.at(inputs.log(NUM_UPDATES, 5, DIM), slice(num_updates)))
        exact = not answers.draws_per_candidate(policy, state, DIM)
        for case in [inputs.case(num, DIM, kind, unseen=True) for num in (2, 3, 17) for kind in ("tied", "zero")]:
            seeds = [np.random.default_rng(seed) for seed in range(1 if exact else answers.NUM_SEEDS)]
            probs = np.stack([policy.probs(state, rng, case.context) for rng in seeds])
            gaps = answers.average(probs - probs[:, :1])
            assert (np.abs(gaps.mean) <= tolerance + answers.MAX_Z * gaps.error).all(), (
                f"ties: {name(policy)} on {case.name}, after {num_updates} updates, must give equal candidates equal probabilities, "
                f"got {brief(probs.mean(axis=0))}"
            )
        states.close(policy, state)
