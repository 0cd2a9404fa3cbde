"""Sums by the kernel are those of NumPy, and so are refusals."""

import functools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import recsdk
from recsdk import ope
from recsdk.base import Context, Interaction
from recsdk.errors import RecsdkError
from recsdk.ope import fused, stream
from recsdk.ope.blocks import BLOCK, Block
from recsdk.ope.checked import take
from recsdk.ope.intervals.resampling import multiplicities
from recsdk.ope.options import Options
from tests.ope.logs import log_of, random_log

pytest.importorskip("numba")

NAMES = ("ips", "snips", "dm", "dr", "sndr")
SIZE = 21_000
ROW = 15_001
"""In the second block, which is the kernel's."""


@pytest.fixture
def by_kernel(monkeypatch):
    """Lets the kernel begin at once or not at all, and counts the rows that it has summed up."""
    rows = []
    call = fused.Kernel.__call__

    def counted(self, rounds, row, **options):
        found = call(self, rounds, row, **options)
        rows.append(0 if found is None else len(rounds.action))
        return found

    def choose(function, on):
        monkeypatch.setattr(fused, "starts", lambda *_: 0 if on else None)
        monkeypatch.setattr(fused.Kernel, "__call__", counted)
        rows.clear()
        return function(), sum(rows)

    return choose


def world(name):
    """Returns a log, a target and a reward model."""
    rng = np.random.default_rng(3)
    log, target, _ = random_log(0, size=SIZE, floor=0.2)
    q_hat = rng.random(target.shape)
    size, places = target.shape
    if name == "weighted":
        log = log._replace(weight=rng.choice([0.0, 0.5, 1.0, 3.0], size))
    elif name in ("masked", "pages"):
        mask = rng.random((size, places)) < 0.7
        mask[np.arange(size), log.action] = True
        item = rng.integers(40, size=(size, places)) if name == "masked" else np.tile([30, 10, 20, 40], (size, 1))
        if name == "pages":  # every second row is the lower position of the page above, also the first of a block
            above, below = slice(1, -1, 2), slice(2, None, 2)
            mask[below] = mask[above]
            mask[below][np.arange(size // 2 - 1), log.action[above]] = False
            mask[below, 0] |= ~mask[below].any(1)
            log.action[below] = mask[below].argmax(1)
        target = target * mask
        target[~target.any(1)] = mask[~target.any(1)]
        target /= target.sum(1, keepdims=True)
        log = log._replace(context=Context(log.context.features, mask, item.astype(np.int64)))
        q_hat = np.where(mask, q_hat, np.nan)
    elif name == "one list, not ascending":
        log = log._replace(context=log.context._replace(item=np.broadcast_to([7, 4, 0, 9], target.shape)))
    elif name == "one list for all":
        log = log._replace(context=log.context._replace(item=np.broadcast_to([2, 4, 6, 9], target.shape)))
    elif name == "tied":
        log = log_of(np.arange(size) % places, rng.integers(2, size=size), np.full(size, 1 / places), num_candidates=places)
        target = np.full(target.shape, 1 / places)
    elif name == "one action":
        log, target, q_hat = log_of(np.zeros(size, int), rng.normal(size=size), rng.uniform(0.5, 1, size)), np.ones((size, 1)), q_hat[:, :1]
    elif name == "many actions":
        target = rng.dirichlet(np.ones(70), size)
        q_hat = rng.normal(size=target.shape)
        log = log_of(rng.integers(70, size=size), rng.exponential(size=size), rng.uniform(1e-6, 1, size), num_candidates=70)
    elif name == "never taken":
        target = np.eye(places)[(log.action + 1 + rng.integers(3, size=size)) % places]
        target[:100] = np.eye(places)[log.action[:100]]
    elif name == "rounded":
        log.propensity[ROW] = 1 + 5e-7
        target = target.round(6)
    elif name == "float32":
        target = target.astype(np.float32)
        target /= target.sum(1, keepdims=True)
    elif name == "read only, in columns":
        target, q_hat = np.asfortranarray(target), np.repeat(q_hat, 2, axis=1)[:, ::2]
        for array in (log.reward, log.propensity, target):
            array.flags.writeable = False
    return log, target, q_hat


WORLDS = (
    "plain", "weighted", "masked", "pages", "one list, not ascending", "one list for all", "tied", "one action", "many actions",
    "never taken", "rounded", "float32", "read only, in columns",
)  # fmt: skip


def close(ours, theirs, rel=1e-12):
    """Compares the numbers of two evaluations."""
    assert (ours.verdict, ours.reasons, ours.notes) == (theirs.verdict, theirs.reasons, theirs.notes)
    numbers = [[*each.diagnostics, *(number for row in each.clipped for number in row)] for each in (ours, theirs)]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-12, abs=1e-12, nan_ok=True)
    for name, found in theirs.estimates.items():
        assert ours.estimates[name].value == pytest.approx(found.value, rel=1e-12, abs=1e-12)
        assert ours.estimates[name] == pytest.approx(found, rel=rel, abs=rel)


@pytest.mark.parametrize("name", WORLDS)
def test_estimates_and_diagnostics_are_those_of_numpy(name, by_kernel):
    log, target, q_hat = world(name)

    def evaluated():
        return ope.evaluate(log, target, q_hat=q_hat, estimators=NAMES, default_reward=0.5, force=True)

    (ours, num_rows), (theirs, none) = by_kernel(evaluated, True), by_kernel(evaluated, False)
    close(ours, theirs)
    assert (num_rows, none) == (SIZE - BLOCK, 0)
    assert name != "pages" or ours.diagnostics.below_share > 0.2


def test_a_target_known_for_logged_actions_alone_and_the_matched_mean_are_those_of_numpy(by_kernel):
    log, target, _ = world("tied")
    matched = np.random.default_rng(0).random(SIZE) < 0.3
    for names in (("ips", "snips"), ("matched", "ips")):
        for value in (target[:, 0], recsdk.Uniform()):
            call = functools.partial(ope.evaluate, log, value, engine="numpy", estimators=names)
            (ours, num_rows), (theirs, _) = by_kernel(call, True), by_kernel(call, False)
            close(ours, theirs)
            assert num_rows == SIZE - BLOCK
    rounds = ope.rounds(log, target, matched=matched)
    call = lambda: ope.finish(ope.accumulate([rounds], estimators=("matched",)))  # noqa: E731
    close(by_kernel(call, True)[0], by_kernel(call, False)[0])


@pytest.mark.parametrize("name", ["plain", "weighted", "masked"])
def test_draws_are_those_of_numpy(name, by_kernel):
    log, target, q_hat = world(name)

    def evaluated():
        return ope.evaluate(log, target, q_hat=q_hat, estimators=NAMES, num_draws=99, seed=2**70 + 1, force=True)

    (ours, num_rows), (theirs, _) = by_kernel(evaluated, True), by_kernel(evaluated, False)
    close(ours, theirs, rel=1e-6)  # in single precision
    assert num_rows == SIZE - BLOCK


@pytest.mark.parametrize(("seed", "block"), [(0, 0), (7, 3), (2**64 - 1, 2**40), (2**100 + 5, 1)])
def test_random_words_are_those_of_philox_and_counts_those_of_the_thresholds(seed, block):
    from recsdk.ope import _drawn

    words = np.random.Philox(key=seed, counter=block << 128).random_raw(4 * 256)
    key = np.uint64(seed & (2**64 - 1)), np.uint64(seed >> 64)
    found = np.empty_like(words)
    for first, stop in ((0, 96), (96, 256)):
        _drawn._random(found[4 * first : 4 * stop], first, block, *key)
    assert np.array_equal(found, words)
    times = np.empty(8 * 1024, np.float32)
    _drawn._count(words.copy(), times)
    ((_, counts),) = multiplicities(BLOCK, num_draws=1, seed=seed, first_row=block * BLOCK)
    assert np.array_equal(times, counts[0])
    assert sorted(set(counts[0])) == [0, 1, 2, 3, 4, 5]


def set_at(name, value, *, where=()):
    """Returns a function that sets one entry of a column."""

    def broken(log, target, q_hat):
        columns = {"target": target, "q_hat": q_hat, "mask": log.context.mask, "features": log.context.features, **log._asdict()}
        columns[name][(ROW, *where)] = value
        return log, target, q_hat

    return broken


def as_type(name, dtype):
    """Returns a function that changes the type of a column."""
    return lambda log, target, q_hat: (log._replace(**{name: getattr(log, name).astype(dtype)}), target, q_hat)


BROKEN = {
    "action too large": set_at("action", 4),
    "action below 0": set_at("action", -1),
    "reward": set_at("reward", np.nan),
    "infinite reward": set_at("reward", -np.inf),
    "propensity 0": set_at("propensity", 0.0),
    "propensity above 1": set_at("propensity", 1.5),
    "no propensity": set_at("propensity", np.nan),
    "tiny propensity": set_at("propensity", 1e-310),
    "negative weight": set_at("weight", -1.0),
    "infinite weight": set_at("weight", np.inf),
    "features": set_at("features", np.inf, where=(0, 1)),
    "padding taken": set_at("mask", False),
    "negative probability": set_at("target", -0.2, where=(1,)),
    "no probability": set_at("target", np.nan, where=(1,)),
    "sum of probabilities": set_at("target", 0.99, where=(1,)),
    "q_hat": set_at("q_hat", np.nan, where=(2,)),
    "float32 propensities": as_type("propensity", np.float32),
    "int32 actions": as_type("action", np.int32),
    "short target": lambda log, target, q_hat: (log, target[:-1], q_hat),
    "wide target": lambda log, target, q_hat: (log, np.pad(target, ((0, 0), (0, 1))), q_hat),
    "wide q_hat": lambda log, target, q_hat: (log, target, np.pad(q_hat, ((0, 0), (0, 1)))),
    "masked rewards": lambda log, target, q_hat: (log._replace(reward=np.ma.array(log.reward, mask=np.arange(SIZE) == ROW)), target, q_hat),
}


@pytest.mark.parametrize("name", BROKEN)
def test_refusals_are_those_of_numpy(name, by_kernel):
    log, target, q_hat = BROKEN[name](*world("plain"))

    def accumulated():
        return ope.accumulate([log], target, q_hat=q_hat, estimators=NAMES)

    def evaluated():
        return ope.evaluate(log, target, q_hat=q_hat, estimators=NAMES)

    for call in (accumulated, evaluated):
        found = []
        for on in (True, False):
            with pytest.raises(RecsdkError) as error:
                by_kernel(call, on)
            found.append((type(error.value), str(error.value)))
        assert found[0] == found[1]


@pytest.mark.parametrize("missing", [{"q_hat": None}, {"probs": None}, {"q_hat": None, "probs": None}], ids=str)
def test_a_chunk_that_lacks_what_others_have_is_refused_as_by_numpy(missing, by_kernel):
    log, target, q_hat = world("plain")
    rounds = recsdk.ope.rounds(log, target, q_hat=q_hat)
    chunks = [take(rounds, slice(0, BLOCK)), take(rounds, slice(BLOCK, SIZE))._replace(**missing)]
    found = []
    for on in (True, False):
        with pytest.raises(RecsdkError) as error:
            by_kernel(lambda: ope.accumulate(chunks, estimators=("ips", "dr")), on)
        found.append((type(error.value), str(error.value)))
    assert found[0] == found[1]


def test_a_seed_may_be_a_number_of_numpy(by_kernel):
    log, target, _ = world("plain")
    results = [by_kernel(lambda seed=seed: ope.evaluate(log, target, num_draws=20, seed=seed), True)[0] for seed in (3, np.int64(3))]
    assert results[0].estimates == results[1].estimates


def test_a_log_that_is_not_uniform_is_refused_the_matched_mean(by_kernel):
    log, target, _ = world("tied")
    log.propensity[ROW] = 0.3
    for on in (True, False):
        with pytest.raises(RecsdkError, match=f"{ROW - BLOCK}. must be 0.25, got 0.3"):
            by_kernel(lambda: ope.accumulate([log], target, estimators=("matched",)), on)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(2, 700), st.sampled_from([0, 3, 1000, BLOCK - 100]), st.booleans())
@example(1723720, 2, 91, 0, False)
def test_any_few_rows_have_the_sums_of_numpy(seed, places, size, first_row, is_padded):
    log, target, q_hat = few_rows(seed, places, size, is_padded)
    functions = {name: ope.ESTIMATORS[name] for name in NAMES}

    def folded(is_run):
        cut, run = size // 2, slice(size // 2, None)
        first = Block(first_row, take(log, slice(cut)), target[:cut], q_hat[:cut])
        rest = Block(first_row + cut, take(log, run), target[run], q_hat[run], is_run=is_run)
        blocks = [first, *([rest] if is_run else rest.parts())]
        return stream.fold(blocks, functions, Options(num_draws=7, seed=seed))

    ours, theirs = folded(True), folded(False)
    assert ours.layout == theirs.layout
    for name, found in theirs.tally._asdict().items():
        mine = getattr(ours.tally, name)
        if name == "pieces":
            assert mine[:2] == found[:2]
            mine, found = (np.concatenate([field.ravel() for field in each[2:]]) for each in (mine, found))
        if name == "items":
            mine, found = (np.concatenate([field.ravel() for field in each[0]]) for each in (mine, found))
        if name == "tail":
            mine, found = (each[:, np.lexsort(each)] for each in (mine, found))
        size_of = np.abs(np.asarray(found, np.float64))
        rounding = 1e-14 * size_of[np.isfinite(size_of)].max(initial=1e3)  # sums of large numbers may cancel
        np.testing.assert_allclose(mine, found, rtol=1e-12, atol=rounding, err_msg=name)
    for mine, found in zip(ours.draws, theirs.draws, strict=True):
        assert np.array_equal(mine.counts, found.counts)
        np.testing.assert_allclose(mine.total, found.total, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(mine.draws, found.draws, rtol=1e-5, atol=1e-5 * abs(found.total).max())


def few_rows(seed, places, size, is_padded):
    """Returns a log with ties, weights of 0 and items that change, a target and a reward model."""
    rng = np.random.default_rng(seed)
    mask = rng.random((size, places)) < (0.7 if is_padded else 1)
    action = rng.integers(places, size=size)
    mask[np.arange(size), action] = True
    target = rng.choice([0.0, 0.5, 1.0], (size, places)) * mask
    target[~target.any(1)] = mask[~target.any(1)]
    target /= target.sum(1, keepdims=True)
    item = np.sort(rng.integers(9, size=(size, places)), axis=1)
    context = Context(np.ones((size, places, 1)), mask, item)
    columns = (rng.integers(-1, 2, size).astype(float), rng.choice([1e-3, 0.25, 0.5, 1.0], size), rng.choice([0.0, 1.0, 2.0], size))
    columns[2][0] = 1.0  # a log has weight
    return Interaction(context, action, *columns), target, rng.normal(size=(size, places))


def test_the_answer_does_not_depend_on_the_number_of_threads(by_kernel, monkeypatch):
    log, target, _ = random_log(1, size=120_000, floor=0.2)
    rng = np.random.default_rng(0)
    log = log._replace(weight=rng.exponential(size=120_000), reward=rng.normal(size=120_000))
    found = []
    for number in (1, 2, 7):
        monkeypatch.setattr("os.cpu_count", lambda number=number: number)
        found.append(by_kernel(lambda: ope.evaluate(log, target, estimators=("ips", "snips"), num_draws=30), True))
    assert found[0] == found[1] == found[2]
    assert found[0][1] == 120_000 - BLOCK


def test_the_kernel_begins_where_loading_it_pays(monkeypatch):
    estimators = {"ips": ope.ips}
    monkeypatch.setattr(fused.fast, "enabled", lambda: True)
    monkeypatch.delenv("RECSDK_FAST", raising=False)
    monkeypatch.setitem(sys.modules, fused.KERNELS, object())
    assert fused.starts(estimators, 0) == 0
    assert fused.starts({"mine": lambda rounds: ope.ips(rounds)}, 0) is None
    monkeypatch.delitem(sys.modules, fused.KERNELS)
    assert fused.starts(estimators, 0) == fused.PAYS > fused.starts(estimators, 1000) > 100_000
    monkeypatch.setenv("RECSDK_FAST", "1")
    assert fused.starts(estimators, 0) == 0
    monkeypatch.setattr(fused.fast, "enabled", lambda: False)
    assert fused.starts(estimators, 0) is None


def test_a_short_log_does_not_import_numba():
    code = (
        "import sys, numpy as np; from recsdk import ope; from tests.ope.logs import random_log; log, target, _ = random_log(0, 20_000);"
        "ope.evaluate(log, target, num_draws=30, estimators=('ips',)); sys.exit('numba' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "RECSDK_FAST"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)  # noqa: S603
