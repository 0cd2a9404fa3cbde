"""Rows that items get, keep and give back, in fits of a stream of logs."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsdk import states
from recsdk.base import Events, Items
from recsdk.columns import objects
from recsdk.data import events_from_rows, items_from_rows
from recsdk.encoders import _content, _fitting, training
from recsdk.encoders._factors import Factors, FactorShape
from recsdk.encoders._objective import NextItem
from recsdk.encoders._rows import filled, learn, no_rows
from recsdk.encoders.mf import MF
from recsdk.errors import InvalidRequest, InvalidValue

TRAINING = {"dim": 8, "max_length": 4, "epochs": 3, "batch_size": 32, "warmup_steps": 0, "learning_rate": 0.02, "dropout": 0.0}


def log_of(counts, others=()):
    """A log in which each item was taken so often; `others` are in the catalogue alone."""
    names = [name for name, count in counts.items() for _ in range(count)]
    items = items_from_rows([{"id": name} for name in dict.fromkeys([*counts, *others])])
    return events_from_rows(items, [{"user_id": f"u{n}", "item": name, "time": float(n)} for n, name in enumerate(names)])


def rows_of(known):
    return dict(zip(known.ids.tolist(), known.number.tolist(), strict=True))


def test_an_item_gets_a_row_after_so_many_events_and_gives_it_back_after_so_many_fits_without():
    one = learn(no_rows(), log_of({"a": 2, "b": 1, "c": 3}, others=["d"]), admit=2, expire=2)
    assert rows_of(one) == {"a": 1, "c": 2}
    two = learn(one, log_of({"b": 2, "c": 1}), admit=2, expire=2)  # c is known, so one event is enough to stay
    assert rows_of(two) == {"a": 1, "b": 3, "c": 2}
    assert learn(two, log_of({}, others=["a"]), admit=2, expire=2) is two
    three = learn(two, log_of({"b": 1, "e": 2, "f": 2}), admit=2, expire=2)
    assert rows_of(three) == {"b": 3, "c": 2, "e": 1, "f": 4}  # a's row is e's
    assert three.idle[three.ids == "c"] == 1
    assert learn(three, log_of({"c": 1}), admit=2, expire=2).idle.tolist() == [1, 0, 1, 1]
    assert rows_of(learn(one, log_of({"b": 2}), admit=2, expire=0)) == {"a": 1, "b": 3, "c": 2}
    with pytest.raises(InvalidRequest, match="must not end in NUL"):
        learn(no_rows(), log_of({"a\0": 2}), admit=2, expire=2)


@given(
    fits=st.lists(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 3)), max_size=8),
    admit=st.integers(1, 3),
    expire=st.integers(0, 3),
)
@settings(deadline=None, max_examples=40)
def test_no_two_items_share_a_row_and_each_keeps_its_own(fits, admit, expire):
    known, most = no_rows(), 0
    for counts in fits:
        before, known = rows_of(known), learn(known, log_of(counts, others="abcdefgh"), admit, expire)
        now = rows_of(known)
        assert len(set(now.values())) == len(now)
        assert all(now[name] == before[name] for name in now.keys() & before.keys())
        seen = {name for name, count in counts.items() if count}
        assert now.keys() - before.keys() == {name for name in seen if counts[name] >= admit} - before.keys()
        assert not (before.keys() - now.keys()) & seen
        kept = {now[name] for name in now.keys() & before.keys()}
        new = sorted(set(now.values()) - kept)
        assert new == [row for row in range(1, 20) if row not in kept][: len(new)]
        assert not expire or (known.idle < expire).all()
        most = max(most, len(before.keys() | now.keys()))
        assert max(now.values(), default=0) <= most


@pytest.mark.parametrize(("size", "wanted"), [(0, 64), (64, 64), (65, 128), (129, 256), (2**20, 2**20)])
def test_sizes_are_powers_of_two(size, wanted):
    assert filled(size) == wanted


def test_rows_without_an_item_count_for_nothing_wherever_they_are():
    rng, num = np.random.default_rng(0), 9
    place = np.array([0, 2, 3, 5, 7, 8, 11, 12, 15])  # of nine rows in a table of sixteen
    small = Factors(*(rng.standard_normal((num, 4)).astype(np.float32) for _ in range(2)))
    large = Factors(*(rng.standard_normal((16, 4)).astype(np.float32) for _ in range(2)))
    for part, whole in zip(small, large, strict=True):
        whole[place] = part
    tokens = np.array([[0, 4, 2, 8, 1], [0, 3, 3, 0, 0]], np.int32)
    shape = FactorShape(dim=4, max_length=4, is_tied=False, recency_decay=0.5)
    common = {"num_negatives": 5, "is_cosine": False, "temperature": 1.0, "dropout": 0.0, "dtype": "float32"}
    objectives = [NextItem(shape=shape, loss_name=name, **common) for name in ("softmax", "sampled", "gbce")]

    def losses(params, *given):
        found = [objective.loss(params, given[0], jax.random.key(0), *given[1:]) for objective in objectives]
        return sum(found), found

    value = jax.jit(jax.value_and_grad(losses, has_aux=True))
    (_, wanted), slope = value(small, tokens)
    (_, found), large_slope = value(large, place[tokens].astype(np.int32), None, jnp.asarray(np.isin(np.arange(16), place[1:])))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    np.testing.assert_allclose(large_slope.output[place], slope.output, atol=1e-6)
    assert not np.delete(np.asarray(large_slope.output), place, axis=0).any()


def stream(encoder, num_fits, step):
    """Fits to one log after another, each of `step` new items and as many of those before; returns the state and the number of programs."""
    before, state = training._compiled_steps._cache_size(), None
    for fit in range(num_fits):
        rng = np.random.default_rng(fit)
        ids = objects([f"i{step * fit + n}" for n in range(2 * step)])
        items = Items(ids, {}, np.arange(2 * step), np.zeros(2 * step))
        taken = np.concatenate([rng.permutation(2 * step), rng.integers(2 * step, size=4 * fit)])
        users = objects([f"{fit} {n // 4}" for n in range(len(taken))])
        log = Events({"user_id": users}, items, taken, np.ones(len(taken)), np.arange(float(len(taken))))
        state = encoder.fit(log, state=state)
    return state, training._compiled_steps._cache_size() - before


def test_eight_fits_of_a_growing_catalogue_compile_a_program_for_each_doubling():
    encoder = MF(admit=1, progress=False, **TRAINING)
    state, programs = stream(encoder, num_fits=8, step=10)
    assert len(state.vocabulary.ids) == 90
    assert len(state.params.table) == 128
    assert programs == 2
    vectors = encoder.encode_items(state, items_from_rows([{"id": f"i{n}"} for n in range(91)]))
    assert vectors[:90].any(axis=1).all()
    assert not vectors[90].any()
    np.testing.assert_allclose(vectors[:90].mean(axis=0), 0, atol=1e-6)  # the rows that are free are no part of the mean


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_million_ids_go_through_a_table_of_an_eighth_of_them():
    small = {**TRAINING, "epochs": 1, "batch_size": 512, "num_validation": 64, "num_negatives": 64}
    begun = time.process_time()
    state, programs = stream(MF(admit=1, expire=1, loss="sampled", progress=False, **small), num_fits=20, step=50_000)
    print(f"{time.process_time() - begun:.0f} s of CPU, {programs} programs, a table of {state.params.table.shape}")
    assert len(state.params.table) == 2**17
    assert programs == 1


def nobody_took(names):
    """A log whose items were taken by who is not known: they get rows, and nothing is trained."""
    items = items_from_rows([{"id": name, "kind": name} for name in names])
    num = len(names)
    return Events({"user_id": np.full(num, None)}, items, np.arange(num), np.ones(num), np.arange(float(num)))


@pytest.mark.parametrize("output", ["tied", "untied"])
@pytest.mark.parametrize("item_features", [(), ("kind",)])
def test_an_item_that_gets_the_row_of_another_starts_as_any_other_item(output, item_features):
    encoder = MF(admit=1, expire=1, output=output, item_features=item_features, **TRAINING)
    state = encoder.fit(nobody_took("ab"))
    network = _content.network(state.params)
    moved = network._replace(table=network.table + 100, output=network.output + 100)
    state = state._replace(params=state.params._replace(network=moved) if item_features else moved)
    after = encoder.fit(nobody_took("bc"), state=state)
    assert rows_of(after.vocabulary) == {"b": 2, "c": 1}  # c has the row of a
    for name in ("table", "output")[: 1 + (output == "untied")]:
        found = getattr(_content.network(after.params), name)
        np.testing.assert_allclose(found[2], getattr(moved, name)[2], rtol=1e-5)
        assert np.abs(found[1]).max() < 1
        if item_features:
            projection = after.params.inward if name == "table" else after.params.outward
            told = _content.features(after.params, items_from_rows([{"id": "c", "kind": "c"}]))
            np.testing.assert_allclose(found[1], (told @ projection)[0], atol=1e-5)
        else:
            assert found[1].any()


def test_items_that_come_one_by_one_start_at_different_vectors():
    encoder, state = MF(admit=1, **TRAINING), None
    for num in range(1, 5):
        state = encoder.fit(nobody_took("abcd"[:num]), state=state)
    for table in (state.params.table, state.params.output):
        assert len(np.unique(table[1:5], axis=0)) == 4


@pytest.mark.parametrize("settings", [{}, {"admit": 1}, {"admit": 1, "item_features": ("kind",)}], ids=str)
def test_a_log_without_histories_leaves_the_scale_of_the_scores(settings):
    encoder = MF(**settings, **TRAINING)
    state = encoder.fit(nobody_took("abc"))._replace(centre=np.arange(8, dtype=np.float32), scale=np.array(7, np.float32))
    after = encoder.fit(log_of({}, others="abc"), state=state)
    np.testing.assert_array_equal(after.centre, state.centre)
    assert after.scale == 7
    if "item_features" not in settings:
        assert states.dumps(encoder, after) == states.dumps(encoder, state)


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [
        ({"admit": 2}, {}, "MF.admit must be at least 1, as in the fit of `state`, got 0"),
        ({}, {"admit": 2}, "MF.admit must be 0, as in the fit of `state`, got 2"),
        ({"item_features": ("kind",)}, {}, r"MF.item_features must be names of features, as in the fit of `state`, got \(\)"),
        ({}, {"item_features": ("kind",)}, r"MF.item_features must be \(\), as in the fit of `state`, got \('kind',\)"),
    ],
)
def test_a_state_of_other_settings_is_refused(before, now, message):
    state = MF(**before, **TRAINING).fit(nobody_took("abc"))
    with pytest.raises(InvalidValue, match=message):
        MF(**now, **TRAINING).fit(nobody_took("abc"), state=state)


def test_a_catalogue_that_is_too_large_for_what_is_asked_is_refused(monkeypatch):
    monkeypatch.setattr(_content, "MOST_ROWS", 3)
    with pytest.raises(
        InvalidValue, match=r"MF.item_features must be \(\) where the tables have more than 3 rows, got \('kind',\) and 4 rows"
    ):
        MF(item_features=("kind",), **TRAINING).fit(nobody_took("abc"))
    MF(item_features=("kind",), **TRAINING).fit(nobody_took("ab"))
    monkeypatch.setattr(_fitting, "MOST_SEEN", 70 * 5)
    rows = [{"user_id": f"u{n // 2}", "item": "abcd"[n % 4], "time": float(n)} for n in range(300)]
    with pytest.raises(InvalidValue, match=r"MF.num_validation must be at most 64 where the tables have 5 rows, got 2,048"):
        MF(**TRAINING).fit(events_from_rows(items_from_rows([{"id": name} for name in "abcd"]), rows))


def test_what_does_not_fit_is_refused():
    with pytest.raises(InvalidValue, match=r"MF\.admit must be a whole number >= 0, got -1"):
        MF(admit=-1)
    with pytest.raises(InvalidValue, match=r"MF\.expire must be a whole number >= 0, got 1\.5"):
        MF(expire=1.5)
