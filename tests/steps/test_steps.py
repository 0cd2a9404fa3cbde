"""Steps: known answers, laws, and refusals."""

import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsdk.columns import requests_table
from recsdk.datasets import Delimited, read_rows
from recsdk.errors import CheckpointCorrupt, CheckpointMismatch, InvalidRequest, InvalidValue
from recsdk.steps import (
    Clip,
    Cyclic,
    DropDuplicates,
    DropMissing,
    FillMissing,
    KCore,
    Rare,
    Scale,
    apply,
    apply_to_request,
    apply_to_table,
    fit,
    load,
    pipeline,
    save,
)
from tests.shared import shared

NUMBERS = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
ROW = st.fixed_dictionaries(
    {
        "age": st.one_of(st.none(), NUMBERS),
        "brand": st.one_of(st.none(), st.sampled_from("abcd")),
        "tags": st.one_of(st.none(), st.lists(st.sampled_from("xyz"), max_size=3)),
        "time": st.floats(0, 1.7e9),
    }
)
FULL = {"age": 1.0, "brand": "a", "tags": ["x"], "time": 5.0}
LOGS = st.lists(ROW, min_size=1, max_size=12).map(lambda rows: [FULL, *rows])
CHANGES = (
    FillMissing(columns=("age",), by="mean"),
    FillMissing(columns=("brand",), by="most frequent"),
    Clip(columns=("age",), low=0.1, high=0.9),
    Scale(columns=("age",), by="log"),
    Scale(columns=("age",), by="quantile"),
    Scale(columns=("age",), by="standard"),
    Rare(columns=("brand", "tags"), at_least=2),
    Cyclic(periods=("day", "week", "year")),
)


def rows_of(rows):
    return read_rows(rows)


def taken(pairs):
    return rows_of([{"user_id": user, "item": item, "time": float(time)} for time, (user, item) in enumerate(pairs)])


PAIRS = st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("vwxyz")), max_size=60)


@settings(deadline=None, max_examples=60)
@given(PAIRS, st.integers(1, 4), st.integers(1, 4))
def test_the_core_is_a_fixed_point_and_the_largest_one(pairs, users, items):
    step = KCore(users=users, items=items)
    rows = taken(pairs) if pairs else taken([("a", "v")]).take(slice(0, 0))
    fitted = fit([step], rows)
    core = apply(fitted, rows).rows
    kept = [(row["user_id"], row["item"]) for row in core.to_dicts()]
    assert all(count >= users for count in Counter(user for user, _ in kept).values())
    assert all(count >= items for count in Counter(item for _, item in kept).values())
    assert apply(fit([step], core), core).rows.line.tolist() == core.line.tolist()
    wanted = list(pairs)
    while True:  # by definition: whoever is rare goes, until nobody is
        count = [Counter(pair[side] for pair in wanted) for side in (0, 1)]
        left = [pair for pair in wanted if count[0][pair[0]] >= users and count[1][pair[1]] >= items]
        if left == wanted:
            break
        wanted = left
    assert kept == wanted


def test_rows_without_a_user_are_in_no_core():
    rows = rows_of([{"user_id": "a", "item": "x"}, {"user_id": None, "item": "x"}, {"user_id": "a", "item": "x"}])
    assert apply(fit([KCore(users=2, items=2)], rows), rows).rows.line.tolist() == [0, 2]
    assert apply(fit([KCore(users=1, items=3)], rows), rows).rows.line.tolist() == []


@settings(deadline=None, max_examples=40)
@given(LOGS, LOGS)
def test_a_request_is_changed_as_a_row_of_the_log_whatever_stands_beside_it(train, other):
    fitted = fit(CHANGES, rows_of(train))
    together = rows_of(other)._replace(columns=apply_to_table(fitted, requests_table(other))).to_dicts()
    for row, changed in zip(other, together, strict=True):
        features = {name: value for name, value in row.items() if name != "time"}
        alone = apply_to_request(fitted, features, time=row["time"])
        assert alone == {name: value for name, value in changed.items() if value is not None and name != "time"}
    assert fit(CHANGES, rows_of(train)).learned == fitted.learned


@settings(deadline=None, max_examples=40)
@given(LOGS)
def test_steps_that_were_saved_and_loaded_give_the_same_numbers(tmp_path_factory, log):
    rows = rows_of(log)
    path = tmp_path_factory.mktemp("steps") / "steps.json"
    fitted = fit((DropDuplicates(columns=("age", "brand", "tags", "time")), DropMissing(columns=("time",)), *CHANGES), rows)
    save(fitted, path)
    again = load(path)
    assert again.steps == fitted.steps
    one, other = apply(fitted, rows), apply(again, rows)
    assert one.report == other.report
    assert one.rows.columns.keys() == other.rows.columns.keys()
    for name, column in one.rows.columns.items():
        np.testing.assert_array_equal(column, other.rows.columns[name])


@settings(deadline=None, max_examples=40)
@given(LOGS)
def test_the_report_counts_what_differs(log):
    rows = rows_of(log)
    applied = apply(fit([CHANGES[0], DropDuplicates(columns=("age",))], rows), rows)
    filled, dropped = applied.report.done
    assert filled.num_changed == sum(row["age"] is None for row in log)
    assert dropped.num_dropped == applied.report.num_before - applied.report.num_after == len(log) - len(applied.rows.line)
    assert rows.to_dicts() == rows_of(log).to_dicts(), "the input stays as it was"


def test_steps_learn_from_what_the_steps_before_them_leave():
    rows = rows_of([{"user_id": "a", "item": "x", "time": 1, "price": price} for price in (1, 100)])
    assert fit([DropDuplicates(), FillMissing(columns=("price",))], rows).learned == ({}, {"price": 1.0})
    assert fit([FillMissing(columns=("price",)), DropDuplicates()], rows).learned == ({"price": 50.5}, {})


def change(step, rows, other=None):
    return apply_to_table(fit([step], requests_table(rows)), requests_table(rows if other is None else other))


def test_duplicates_are_rows_of_one_user_item_and_time_and_the_first_is_kept():
    rows = rows_of(
        [
            {"user_id": "a", "item": "x", "time": 1, "reward": 1},
            {"user_id": "a", "item": "x", "time": 2, "reward": 2},
            {"user_id": "a", "item": "x", "time": 1, "reward": 3},
            {"user_id": None, "item": "x", "time": 1, "reward": 4},
            {"user_id": None, "item": "x", "time": 1, "reward": 5},
        ]
    )
    assert apply(fit([DropDuplicates()], rows), rows).rows.columns["reward"].tolist() == [1, 2, 4]
    assert apply(fit([DropMissing(columns=("user_id",))], rows), rows).rows.columns["reward"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("step", "wanted"),
    [
        (FillMissing(columns=("x",)), [1.0, 2.0, 2.0, 9.0]),
        (FillMissing(columns=("x",), by="mean"), [1.0, 4.0, 2.0, 9.0]),
        (FillMissing(columns=("x",), by="most frequent"), [1.0, 1.0, 2.0, 9.0]),
        (FillMissing(columns=("x",), value=-1.0), [1.0, -1.0, 2.0, 9.0]),
        (Clip(columns=("x",), low=0.25, high=0.75), [1.5, math.nan, 2.0, 5.5]),
        (Scale(columns=("x",), by="log"), [math.log(2), math.nan, math.log(3), math.log(10)]),
    ],
)
def test_numbers_have_known_answers(step, wanted):
    rows = [{"x": 1}, {"x": None}, {"x": 2}, {"x": 9}]
    np.testing.assert_allclose(change(step, rows)["x"], wanted)


def test_what_was_learned_holds_for_new_rows():
    train, new = [{"x": 0}, {"x": 10}], [{"x": 20}, {"x": None}, {"x": -5}]
    np.testing.assert_allclose(change(Scale(columns=("x",)), train, new)["x"], [3.0, math.nan, -2.0])
    np.testing.assert_allclose(change(Clip(columns=("x",), low=0, high=1), train, new)["x"], [10.0, math.nan, 0.0])
    np.testing.assert_allclose(change(Scale(columns=("x",), by="quantile"), train, new)["x"], [1.0, math.nan, 0.5 * 1000 / 1001], atol=1e-2)
    np.testing.assert_allclose(change(Scale(columns=("x",), by="log"), train, [{"x": -1}])["x"], [-math.log(2)])


def test_quantiles_make_any_distribution_uniform():
    values = np.random.default_rng(0).lognormal(size=5_000)
    found = change(Scale(columns=("x",), by="quantile"), [{"x": value} for value in values])["x"]
    assert np.abs(np.sort(found) - np.linspace(0, 1, 5_000)).max() < 2e-3
    assert (np.argsort(found, kind="stable") == np.argsort(values, kind="stable")).mean() > 0.5
    equal = change(Scale(columns=("x",), by="quantile"), [{"x": 7}, {"x": 7}])["x"]
    assert equal.tolist() == [0.5, 0.5]


def test_rare_and_unknown_categories_have_one_name():
    rows = [{"brand": "a", "tags": ["x", "y"]}, {"brand": "a", "tags": ["x", "z", "z"]}, {"brand": "b", "tags": None}]
    found = change(
        Rare(columns=("brand", "tags"), at_least=2), rows, [*rows, {"brand": "new", "tags": []}, {"brand": None, "tags": ["new"]}]
    )
    assert found["brand"].tolist() == ["a", "a", "(rare)", "(rare)", None]
    assert found["tags"].tolist() == [["x", "(rare)"], ["x", "(rare)"], None, [], ["(rare)"]]


def test_midnight_lies_beside_a_minute_before_it():
    found = change(Cyclic(periods=("day", "week", "year")), [{"time": 1.7e9 // 86_400 * 86_400}, {"time": 1.7e9 // 86_400 * 86_400 - 60}])
    assert set(found) == {"time", *(f"time_{period}_{part}" for period in ("day", "week", "year") for part in ("sin", "cos"))}
    for period in ("day", "week", "year"):
        sine, cosine = found[f"time_{period}_sin"], found[f"time_{period}_cos"]
        np.testing.assert_allclose(sine**2 + cosine**2, 1)
        assert math.hypot(*np.diff([sine, cosine]).ravel()) < 0.01
    assert found["time_day_cos"][0] == pytest.approx(1)


@pytest.mark.parametrize(
    ("steps", "rows", "message"),
    [
        ([Clip(columns=("prise",))], [{"price": 1}], r"rows must have a column 'prise', got \['price'\]. Did you mean 'price'\?"),
        ([Clip(columns=("brand",))], [{"brand": "a"}], "'brand' must hold numbers, got a str"),
        ([Rare(columns=("price",))], [{"price": 1}], "'price' must hold texts or lists of texts, got a number"),
        ([FillMissing(columns=("tags",), by="most frequent")], [{"tags": ["a"]}], "'tags' must hold numbers or texts"),
        ([FillMissing(columns=("price",))], [{"price": None}, {"price": None}], "'price' must have a value in at least one row"),
        ([FillMissing(columns=("price",), by="most frequent")], [{"price": None}], "'price' must have a value"),
        ([KCore()], [{"user_id": "a"}], "rows must have a column 'item'"),
        ([Cyclic()], [{"when": 1}], "rows must have a column 'time'"),
    ],
)
def test_what_cannot_be_learned_is_refused(steps, rows, message):
    with pytest.raises(InvalidRequest, match=message):
        fit(steps, read_rows(rows))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Clip(columns="price"), r"Clip.columns must be a tuple of texts, such as \('price',\), got 'price'"),
        (lambda: Clip(columns=("x",), low=0.9, high=0.1), "Clip.low must lie below Clip.high, 0.1, got 0.9"),
        (lambda: Clip(columns=("x",), low=-1), "Clip.low must be a finite number >= 0 and <= 1, got -1"),
        (lambda: Scale(columns=("x",), by="minmax"), r"Scale.by must be one of \('standard', 'log', 'quantile'\), got 'minmax'"),
        (lambda: FillMissing(columns=("x",), by="mode"), "FillMissing.by must be one of"),
        (lambda: KCore(users=0), "KCore.users must be a whole number >= 1, got 0"),
        (lambda: Cyclic(periods=("hour",)), r"Cyclic.periods must be one of \('day', 'week', 'year'\), got 'hour'"),
        (lambda: fit([max], read_rows([{"a": 1}])), "steps must be steps, such as"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, message):
    with pytest.raises(InvalidValue, match=message):
        make()


def test_a_column_of_another_kind_than_at_the_fit_is_refused():
    fitted = fit([Clip(columns=("price",)), FillMissing(columns=("brand",), value="none")], read_rows([{"price": 1, "brand": "a"}]))
    with pytest.raises(InvalidRequest, match="'price' must hold numbers, got a str"):
        apply_to_request(fitted, {"price": "dear"})
    with pytest.raises(InvalidRequest, match="'brand' must hold texts where 'none' is filled in, got a number"):
        apply_to_request(fitted, {"brand": 7})
    assert apply_to_request(fitted, {}) == {"brand": "none"}
    fitted = fit([Rare(columns=("brand", "tags"))], read_rows([{"brand": "a", "tags": ["b"]}]))
    with pytest.raises(InvalidRequest, match="'brand' must hold a str as at the fit, got a list of str"):
        apply_to_request(fitted, {"brand": ["a"]})
    with pytest.raises(InvalidRequest, match="'tags' must hold a list of str as at the fit, got a str"):
        apply_to_request(fitted, {"tags": "b"})
    assert apply_to_request(fitted, {}) == {}
    with pytest.raises(InvalidRequest, match="rows must have a column 'time'"):
        apply_to_request(fit([Cyclic()], read_rows([{"time": 1}])), {"age": 3})


class Mine:
    def fit(self, table):
        return {}

    def change(self, learned, table):
        return {"one": np.ones(len(next(iter(table.values()))))}


def test_a_step_of_ones_own_is_applied_and_not_saved(tmp_path):
    fitted = fit([Mine()], read_rows([{"a": 1}]))
    assert apply_to_request(fitted, {"a": 2}) == {"a": 2.0, "one": 1.0}
    with pytest.raises(InvalidValue, match="steps that are saved must be some of"):
        save(fitted, tmp_path / "steps.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda text: text[:-20], CheckpointCorrupt, "must hold steps that `save` wrote"),
        (lambda text: "[]", CheckpointCorrupt, "must hold steps that `save` wrote"),
        (lambda text: "[" * 100_000, CheckpointCorrupt, "must hold steps"),
        (lambda text: text.replace("1.0", "1.5"), CheckpointCorrupt, "The digest of .*steps.json must be that of its steps"),
        (lambda text: text.replace('"format": 1', '"format": 2'), CheckpointMismatch, "must be of format 1, got 2"),
    ],
)
def test_a_damaged_file_of_steps_is_refused(tmp_path, damage, error, message):
    path = tmp_path / "steps.json"
    save(fit([Clip(columns=("price",))], read_rows([{"price": 1}])), path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(error, match=message):
        load(path)


def test_a_step_of_another_version_is_refused(tmp_path):
    path = tmp_path / "steps.json"
    save(fit([Clip(columns=("price",))], read_rows([{"price": 1}])), path)
    found = json.loads(path.read_text())
    for change_it in (lambda step: step.update(step="Other"), lambda step: step["settings"].update(middle=1)):
        steps = json.loads(json.dumps(found["steps"]))
        change_it(steps[0])
        path.write_text(json.dumps({"format": 1, "digest": pipeline._digest(steps), "steps": steps}))
        with pytest.raises(CheckpointMismatch, match="must hold steps of this version"):
            load(path)


@pytest.mark.slow
def test_the_core_of_amazon_beauty_is_a_core_already():
    rows = read_rows(shared("data/amazon-beauty-bert4rec/beauty.txt.gz"), form=Delimited(delimiter=" ", names=("user_id", "item")))
    applied = apply(fit([KCore(users=5, items=1)], rows), rows)
    assert applied.report.num_after == len(rows.line), "users have five rows, as published"
    core = apply(fit([KCore(users=5, items=5)], rows), rows)
    assert core.report.num_after < len(rows.line), "items have not, whatever is published"


def test_the_ten_core_of_movielens():
    columns = {"item_id": "item", "rating": "reward", "timestamp": "time"}
    rows = read_rows(shared("data/ml-100k/ml-100k.inter"), columns=columns)
    applied = apply(fit([DropDuplicates(), KCore(users=10, items=10)], rows), rows)
    assert [done.num_dropped for done in applied.report.done] == [0, 2_047]
    left = applied.rows.columns
    assert (len(left["item"]), len(set(left["user_id"])), len(set(left["item"]))) == (97_953, 943, 1_152)
