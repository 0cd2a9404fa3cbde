"""Laws of one answer: it is a distribution, it has no favourites among places, and giving it leaves no trace."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from recsdk.base import Context, Policy
from recsdk.testing import answers, inputs, states
from recsdk.testing.inputs import Case
from recsdk.testing.states import TOLERANCE, brief, name, on_numpy

DIM = 7
NUM_UPDATES = 40


def check_distribution(policy: Policy[Any]) -> None:
    """Probs are finite float64, >= 0, sum to 1 and are zero on padding, for few and many candidates, of usual and extreme features."""
    policy = on_numpy(policy)
    for dim in inputs.WIDTHS:
        cases = [inputs.case(num, dim, kind, padded=padded) for num in inputs.SIZES for kind in inputs.KINDS for padded in (False, True)]
        for when, kind in (("before any update", None), ("after 40 updates", "normal"), ("after 40 updates of extreme features", "mixed")):
            log = inputs.log(NUM_UPDATES, 5, dim, kind or "normal")
            state = states.learned(policy, inputs.at(log, slice(NUM_UPDATES if kind else 0)))
            for case in cases:
                wrong = _wrong(policy.probs(state, np.random.default_rng(0), case.context), case.context.mask)
                assert not wrong, f"distribution: {name(policy)} on {case.name}, {when}: {wrong}"
            states.close(policy, state)


def _wrong(probs: Any, mask: np.ndarray) -> str:
    if not isinstance(probs, np.ndarray) or probs.dtype != np.float64 or probs.shape != mask.shape:
        return f"probs must be float64{list(mask.shape)}, got {getattr(probs, 'dtype', type(probs))}{list(getattr(probs, 'shape', []))}"
    if not np.isfinite(probs).all():
        return f"probs must be finite, got {brief(probs)}"
    if not (probs >= 0).all():
        return f"probs must be >= 0, got {brief(probs)}"
    if abs(probs.sum() - 1) > 1e-9:
        return f"probs must sum to 1, got {brief(probs)} with sum {probs.sum()!r}"
    if probs[~mask].any():
        return f"probs must be 0 on padding, got {brief(probs)} for the mask {brief(mask)}"
    return ""


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

    cases = [inputs.case(num, DIM, kind) for num in (1, 2, 3, 17) for kind in ("normal", "half tied")]
    _check_same("padding", "with padding around its candidates", policy, cases, padded, tolerance)


def _check_same(law: str, how: str, policy: Policy[Any], cases: list[Case], change: Any, tolerance: float) -> None:
    policy = on_numpy(policy)
    for num_updates in (0, NUM_UPDATES):
        state = states.learned(policy, inputs.at(inputs.log(NUM_UPDATES, 5, DIM), slice(num_updates)))
        exact = not answers.draws_per_candidate(policy, state, DIM)
        for case in cases:
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


def check_purity(policy: Policy[Any]) -> None:
    """`probs` is a function of its arguments, and neither it nor `update` writes to what it is given."""
    policy = on_numpy(policy)
    log = inputs.log(NUM_UPDATES, 5, DIM)
    _check_writes_nothing(policy, log)
    state = states.learned(policy, log)
    before = states.dumps(policy, state)
    one, other = inputs.case(5, DIM).context, inputs.case(5, DIM, seed=1).context
    first = policy.probs(state, np.random.default_rng(3), one)
    kept = first.copy()
    policy.probs(state, np.random.default_rng(4), other)
    _assert_same("its earlier answer must not change when it is asked again", policy, first, kept)
    second = policy.probs(state, np.random.default_rng(3), one)
    _assert_same("the same state, seed and context must give the same answer", policy, second, kept)
    _check_global_randomness(policy, state, one)
    saved = states.loads(policy, DIM, before)
    difference = states.difference(policy, state, saved, DIM)
    assert not difference, f"purity: {name(policy)}: `probs` must leave the state as it is, but {difference}"
    states.close(policy, state, saved)


def _assert_same(claim: str, policy: Policy[Any], got: np.ndarray, wanted: np.ndarray) -> None:
    assert np.array_equal(got, wanted), f"purity: {name(policy)}: {claim}, got {brief(got)} after {brief(wanted)}"


def _check_writes_nothing(policy: Policy[Any], log: Any) -> None:
    prior = np.linspace(-1, 1, DIM)
    given = inputs.frozen((prior, log, inputs.case(5, DIM).context))
    frozen_prior, frozen_log, frozen_context = given
    try:
        state = policy.init(frozen_prior)
        for row in range(3):
            state = policy.update(state, inputs.at(frozen_log, row))
            policy.probs(state, np.random.default_rng(0), frozen_context)
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise AssertionError(f"purity: {name(policy)} must not write to the prior, context or interaction it is given: {error}") from error
    states.close(policy, state)


def _check_global_randomness(policy: Policy[Any], state: Any, context: Context) -> None:
    numpys, pythons = np.random.get_state(), random.getstate()  # noqa: NPY002  # the law is that nobody uses these
    results = []
    try:
        for seed in (1, 2):
            np.random.seed(seed)  # noqa: NPY002
            random.seed(seed)
            before = repr(np.random.get_state()), random.getstate()  # noqa: NPY002
            results.append(policy.probs(state, np.random.default_rng(3), context))
            after = repr(np.random.get_state()), random.getstate()  # noqa: NPY002
            assert before == after, f"purity: {name(policy)} must take random numbers from the rng it is given only"
    finally:
        np.random.set_state(numpys)  # noqa: NPY002
        random.setstate(pythons)
    _assert_same("the global generators of `numpy.random` and `random` must not matter", policy, results[1], results[0])
