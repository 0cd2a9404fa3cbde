"""A log in chunks, and in shards that are evaluated apart."""

import functools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recsdk
from recsdk import ope
from recsdk.errors import EmptyLog, InsufficientOverlap, InvalidLog, InvalidProbs, InvalidValue
from recsdk.ope import tally as tallies
from recsdk.ope.checked import take
from recsdk.ope.tally import all_items
from tests.ope.logs import log_of, random_log

NAMES = ("ips", "snips", "dm", "dr", "sndr")
SIZE = 30_000


@functools.cache
def question():
    log, target, _ = random_log(0, size=SIZE, floor=0.2)
    return log, target, np.random.default_rng(1).random(target.shape)


def chunks_of(record, sizes):
    start, index = 0, 0
    while start < len(record.action):
        size = sizes[index % len(sizes)]
        yield take(record, slice(start, start + size))
        start, index = start + size, index + 1


def flat(evaluation):
    """Returns every number of an evaluation."""
    estimates = [number for found in evaluation.estimates.values() for number in found]
    return [*estimates, *evaluation.diagnostics, *(number for row in evaluation.clipped for number in row)]


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 20_000), min_size=1, max_size=4).filter(lambda sizes: sum(sizes) > 3000))
def test_chunks_of_whatever_size_give_the_same_to_the_last_bit(sizes):
    log, target, q_hat = question()
    whole = ope.evaluate(log, target, q_hat=q_hat, estimators=NAMES)
    partial = ope.accumulate(chunks_of(log, sizes), target, q_hat=q_hat, estimators=NAMES)
    assert ope.finish(partial) == whole


def test_the_bootstrap_does_not_depend_on_the_chunks_either():
    log, target, q_hat = question()
    whole = ope.evaluate(log, target, q_hat=q_hat, num_draws=200, seed=3)
    for sizes in ([777], [SIZE], [9000, 1]):
        partial = ope.accumulate(chunks_of(log, sizes), target, q_hat=q_hat, estimators=("ips", "snips", "dr"), num_draws=200, seed=3)
        assert ope.finish(partial) == whole
    other = ope.evaluate(log, target, q_hat=q_hat, num_draws=200, seed=4)
    assert other.estimates["ips"].value == whole.estimates["ips"].value
    assert other.estimates["ips"].low != whole.estimates["ips"].low


def test_it_is_what_whole_terms_give():
    log, target, q_hat = question()
    rounds = ope.rounds(log, target, q_hat=q_hat)
    found = ope.evaluate(log, target, q_hat=q_hat, estimators=NAMES)
    for name in NAMES:
        assert found.estimates[name] == pytest.approx(ope.delta(ope.ESTIMATORS[name](rounds)), rel=1e-12)


@pytest.mark.parametrize("num_draws", [0, 100])
def test_shards_add_up_to_the_whole(num_draws):
    log, target, q_hat = question()
    options = {"estimators": NAMES, "num_draws": num_draws}
    whole = ope.finish(ope.accumulate([log], target, q_hat=q_hat, **options))
    shards, start = [], 0
    for end in (5, 10_000, 10_001, SIZE):
        rows = slice(start, end)
        shards.append(ope.accumulate([take(log, rows)], target[rows], q_hat=q_hat[rows], first_row=start, **options))
        start = end
    for order in ((0, 1, 2, 3), (3, 1, 0, 2)):
        merged = ope.finish(functools.reduce(ope.merge, (shards[index] for index in order)))
        assert merged.reasons == whole.reasons
        tolerance = 1e-4 if num_draws else 1e-10  # draws are summed in single precision
        assert flat(merged) == pytest.approx(flat(whole), rel=tolerance, nan_ok=True)
        for name, found in merged.estimates.items():
            assert found.value == pytest.approx(whole.estimates[name].value, rel=1e-12)


def test_merging_in_either_order_and_grouping_is_the_same():
    log, target, _ = question()
    thirds = [slice(0, 9000), slice(9000, 20_000), slice(20_000, SIZE)]
    a, b, c = (ope.accumulate([take(log, rows)], target[rows], first_row=rows.start) for rows in thirds)
    left, right = ope.finish(ope.merge(ope.merge(a, b), c)), ope.finish(ope.merge(a, ope.merge(c, b)))
    assert flat(left) == pytest.approx(flat(right), rel=1e-12, nan_ok=True)


def test_a_policy_a_function_a_table_and_rounds_are_all_targets():
    log, _, _ = question()
    uniform = np.full(log.context.mask.shape, 0.25)

    def function(context):
        return context.mask / context.mask.sum(1, keepdims=True)

    expected = ope.finish(ope.accumulate([log], uniform))
    for target in (function, recsdk.Uniform(), uniform):
        assert ope.finish(ope.accumulate(chunks_of(log, [7000]), target, engine="numpy")) == expected
    assert ope.finish(ope.accumulate(chunks_of(ope.rounds(log, uniform), [7000]))) == expected
    assert ope.evaluate(log, function, estimators=("ips", "snips")) == expected


def test_a_table_may_lie_on_disk(tmp_path):
    log, target, _ = question()
    table = np.memmap(tmp_path / "target", np.float64, "w+", shape=target.shape)
    table[:] = target
    assert ope.finish(ope.accumulate(chunks_of(log, [5000]), table)) == ope.finish(ope.accumulate([log], target))


@pytest.mark.parametrize("engine", ["numpy", "auto"])
def test_a_policy_learns_on_from_block_to_block(engine, monkeypatch):
    monkeypatch.setattr("recsdk.drivers.replay.FEW_ROUNDS", 8500)  # so that "auto" walks the second block by another engine
    log, _, _ = random_log(2, size=9000, floor=0.5)
    policy = recsdk.LinUCB()
    played = recsdk.replay(policy, log, learn_from="all", engine="numpy")
    options = {"learn_from": "all", "engine": engine}
    found = ope.finish(ope.accumulate(chunks_of(log, [1000]), policy, **options))
    assert found.estimates["ips"] == pytest.approx(ope.delta(ope.ips(ope.rounds(log, played.decision.probs))), rel=1e-9)


@pytest.mark.parametrize(("has_numba", "later"), [(True, "numba"), (False, "jax")])
def test_a_long_stream_is_walked_by_the_engine_of_a_long_log(has_numba, later, monkeypatch):
    walked, replay = [], recsdk.replay

    def spied(policy, log, *, engine, **options):
        walked.append(engine)
        return replay(policy, log, engine="numpy", **options)

    monkeypatch.setattr("recsdk.drivers.replay.replay", spied)
    monkeypatch.setattr("recsdk.drivers.replay.FEW_ROUNDS", 16_384)
    monkeypatch.setattr("recsdk.fast.enabled", lambda: has_numba)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    log, _, _ = random_log(2, size=18_000, floor=0.5)
    ope.accumulate(chunks_of(log, [5000]), recsdk.LinUCB(), learn_from="all", first_row=8192)
    assert walked == ["numpy", "numpy", later]


def test_chunks_may_differ_in_their_number_of_candidates():
    log, target, _ = random_log(3, size=4000, num_candidates=3)
    padded = log._replace(context=recsdk.Context(*(np.pad(c, [(0, 0), (0, 2)] + [(0, 0)] * (c.ndim - 2)) for c in log.context)))

    def function(context):
        return np.pad(target, ((0, 0), (0, 2))) if context.mask.shape[1] == 5 else target

    mixed = ope.accumulate([take(log, slice(0, 1000)), take(padded, slice(1000, None))], function)
    assert flat(ope.finish(mixed)) == pytest.approx(flat(ope.finish(ope.accumulate([log], target))), rel=1e-12, nan_ok=True)


def test_ten_million_terms_sum_as_exactly_as_fsum():
    # 100,000 rounds as often as it takes: pieces are added up 100 times, as those of 10,000,000 rounds are.
    rng = np.random.default_rng(4)
    size = 100_000
    reward, propensity = rng.exponential(size=size), rng.uniform(0.05, 1, size)
    log = log_of(rng.integers(2, size=size), reward, propensity, num_candidates=2)
    target = rng.random(size) * 0.99
    rounds = ope.rounds(log, target)
    found = ope.finish(ope.accumulate(rounds for _ in range(100)), force=True)
    terms = target / propensity
    assert found.diagnostics.num_rounds == 10_000_000
    assert found.estimates["ips"].value == pytest.approx(math.fsum(terms * reward) / size, rel=1e-13)
    assert found.estimates["snips"].value == pytest.approx(math.fsum(terms * reward) / math.fsum(terms), rel=1e-13)


def test_what_is_kept_does_not_grow_with_the_log():
    log, target, _ = question()
    sizes = []
    for times in (1, 20):
        partial = ope.accumulate((ope.rounds(log, target) for _ in range(times)), num_draws=10)
        sizes.append(sum(array.nbytes for array in (*partial.tally.pieces[2:], partial.tally.tail, *all_items(partial.tally.items))))
        assert len(partial.tally.pieces.sums) <= tallies.MAX_PIECES
    assert max(sizes) < 300_000  # at most 8,192 large weights of 24 bytes, and the pieces


def test_a_block_of_weight_zero_is_no_empty_log():
    log, target, _ = random_log(5, size=20_000, floor=0.5)
    weight = (np.arange(20_000) >= 9000).astype(float)
    whole = ope.evaluate(log._replace(weight=weight), target, estimators=("ips",))
    assert whole.estimates["ips"] == pytest.approx(
        ope.evaluate(take(log, slice(9000, None)), target[9000:], estimators=("ips",)).estimates["ips"]
    )
    with pytest.raises(EmptyLog, match="got 20000 rows of weight 0"):
        ope.evaluate(log._replace(weight=0 * weight), target)


def with_row(column, row, value):
    changed = column.copy()
    changed[row] = value
    return changed


def test_a_bad_row_is_named_by_its_number_in_the_whole_log():
    log, target, _ = question()
    bad = log._replace(reward=with_row(log.reward, 20_000, math.nan))
    with pytest.raises(InvalidLog, match="reward must be a finite number, got nan in row 20000 "):
        ope.evaluate(bad, target)
    with pytest.raises(InvalidLog, match=rf"got nan in row {20_000 - 2 * 8192} .* Rows are counted from row 16384 of the log"):
        ope.accumulate(chunks_of(bad, [1000]), target)
    with pytest.raises(InvalidProbs, match=r"target's sum\[20000\] must be 1"):
        ope.evaluate(log, with_row(target, 20_000, 0.3))


def test_tables_must_be_as_long_as_the_log():
    log, target, _ = question()
    with pytest.raises(InvalidLog, match="target must have a row for each of the log's 30000, got 30001"):
        ope.accumulate([log], np.pad(target, ((0, 1), (0, 0)), constant_values=0.25))
    with pytest.raises(InvalidProbs, match="target must be"):
        ope.accumulate([log], target[:-1])
    with pytest.raises(InvalidProbs, match="target must be"):
        ope.evaluate(log, target[:-1])
    with pytest.raises(InvalidLog, match=r"reward must be float64\[30000\]"):
        ope.accumulate([log._replace(reward=log.reward[:-1])], target)


def test_no_chunks_are_an_empty_log():
    with pytest.raises(EmptyLog, match="at least one row"):
        ope.accumulate([], np.zeros((0, 2)))


def test_chunks_without_a_target_must_be_rounds():
    log, target, _ = question()
    with pytest.raises(InvalidValue, match="chunks must be `rounds` where no target is given, got Interaction"):
        ope.accumulate([log])
    mixed = [ope.rounds(log, target), ope.rounds(log, target[np.arange(SIZE), log.action])]
    with pytest.raises(InvalidLog, match="chunks must all have probs, or none of them"):
        ope.accumulate(mixed)


def test_an_estimator_that_looks_at_other_rows_is_refused_in_chunks():
    log, target, _ = question()

    def centred(rounds):
        return ope.average(rounds.reward - rounds.reward.mean(), rounds.weight)

    with pytest.raises(InvalidValue, match="'centred' does not"):
        ope.accumulate([log], target, estimators={"centred": centred})
    assert ope.evaluate(log, target, estimators={"centred": centred}).estimates["centred"].value == pytest.approx(0, abs=1e-12)


def test_shards_of_different_questions_do_not_add_up():
    log, target, _ = question()
    one, other = (ope.accumulate([log], target, estimators=(name,)) for name in ("ips", "snips"))
    with pytest.raises(InvalidValue, match=r"must have the same estimators, number of draws and default reward, got \['ips'\]"):
        ope.merge(one, other)
    with pytest.raises(InvalidValue, match="number of draws"):
        ope.merge(one, ope.accumulate([log], target, estimators=("ips",), num_draws=10))


def test_a_stream_is_refused_as_a_log_is():
    log = log_of([0] * 500, [1.0] * 500, [1.0] * 500, num_candidates=2)
    partial = ope.accumulate([log], np.tile([0.0, 1.0], (500, 1)))
    for force in (False, True):
        with pytest.raises(InsufficientOverlap):
            ope.finish(partial, force=force)


def test_a_level_must_be_a_probability():
    log, target, _ = question()
    with pytest.raises(InvalidValue, match=r"level must be in \(0, 1\)"):
        ope.finish(ope.accumulate([log], target), level=95)


def test_two_ratios_over_the_same_weights_have_one_standard_error():
    log, target, _ = question()

    def twice(rounds):
        both = np.stack([rounds.reward, rounds.target / rounds.propensity * rounds.reward], axis=1)
        return ope.Terms(both, np.broadcast_to(rounds.weight[:, None], both.shape))

    found = ope.finish(ope.accumulate([log], target, estimators={"twice": twice})).estimates["twice"]
    assert found == pytest.approx(ope.delta(twice(ope.rounds(log, target))), rel=1e-12)


def test_shards_with_another_default_reward_do_not_add_up():
    log, target, _ = question()
    with pytest.raises(InvalidValue, match="default reward, got"):
        ope.merge(ope.accumulate([log], target), ope.accumulate([log], target, default_reward=-1.0))


def test_as_many_items_as_rows_are_told_apart_and_summed():
    rng = np.random.default_rng(6)
    size = 40_000
    item = rng.permutation(2 * size).reshape(size, 2)
    item[size // 2 :] = item[: size // 2]  # each is there twice, in blocks far apart
    log = log_of(rng.integers(2, size=size), rng.random(size), np.full(size, 0.5), num_candidates=2, item=item)
    target = np.full((size, 2), 0.5)
    found = ope.finish(ope.accumulate([log], target), force=True).diagnostics
    taken = np.isin(item, item[np.arange(size), log.action])
    assert found.unsupported_mass == pytest.approx(1 - taken.mean(), rel=1e-12)
    by_item = all_items(ope.accumulate([log], target).tally.items)
    assert np.array_equal(by_item.slot, np.unique(item))
    assert by_item.sums[:, 1].sum() == 2 * size
