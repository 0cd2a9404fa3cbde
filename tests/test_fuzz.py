"""Bad values into public functions: each is refused with a typed error and changes nothing, or is taken for what it is."""

import inspect
import math
import random
import warnings

import numpy as np
import pytest

import recsdk
from recsdk import checks, data, datasets, errors, rows, steps, times
from recsdk.live.recommender import Recommender
from tests.live.shop import CATALOGUE, Clock, catalogue, small_recommender, state, tables

BAD = [
    *(None, True, -1, 0, 1.5, math.nan, math.inf, -math.inf, 10**400, 2**63, 1e308, 1j),
    *("", "x", "\ud800", "\0", b"x", "x" * 10_000, [], [None], [1], ["x"], [[]], {}, {"x": math.nan}, {1: 1}, {"x": [1]}, (1, 2)),
    *(object(), np.array(1.0), np.array([math.nan]), np.array(["a", 1], object), np.ma.masked, np.ma.array([1.0], mask=[True])),
    *(np.longdouble(1), np.timedelta64(1, "s"), np.datetime64("2020-01-01"), np.float32(0.5), np.str_("news-0"), np.bool_(True)),
    *(int, range(3), {"x"}, frozenset({1}), Clock(), [("x", 1)], [{"id": "x"}, {"id": 1}], {"x": "\ud800"}),
]
"""Values of every kind, most of which are wrong for any argument."""

SHARE = 0.15
"""Of the calls that a quick run makes, by a seed of each function's name; the nightly run makes all."""


def calls(name, arguments, share):
    """Yields arguments of which one is replaced by a bad value."""
    chosen = random.Random(name)
    for field in arguments:
        for value in BAD:
            if chosen.random() < share:
                yield field, {**arguments, field: value}


def refusals(name, function, arguments, share):
    """Calls a function with bad values, and returns the calls that end in anything but a typed error."""
    raw = []
    for field, given in calls(name, arguments, share):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", errors.RecsdkWarning)
                function(**given)
        except errors.RecsdkError:
            pass
        except Exception as error:
            raw.append(f"{name}({field}={given[field]!r:.60}): {type(error).__name__}: {error!s:.120}")
    return raw


FUNCTIONS = {
    "items_from_rows": (data.items_from_rows, {"rows": [{"id": "a"}], "time": 0.0, "time_unit": "s", "now": 1e9}),
    "events_from_rows": (
        lambda **given: data.events_from_rows(data.items_from_rows([{"id": "a"}]), **given),
        {"rows": [{"item": "a", "time": 1.0}], "time_unit": "s", "now": 1e9, "unknown_items": "refuse"},
    ),
    "events_from_rows, one value": (
        lambda **row: data.events_from_rows(data.items_from_rows([{"id": "a"}]), [row]),
        {"item": "a", "time": 1.0, "reward": 1.0, "x": "y"},
    ),
    "items_from_rows, one value": (lambda **row: data.items_from_rows([row]), {"id": "a", "added": 1.0, "x": "y"}),
    "read_rows": (
        datasets.read_rows,
        {"source": [{"id": "a"}], "form": None, "columns": {}, "kinds": {}, "time_unit": "s", "bad_rows": "refuse"},
    ),
    "read_rows, one value": (lambda **row: datasets.read_rows([row]), {"item": "a", "time": 1.0, "reward": 1.0, "x": "y"}),
    "steps.fit": (steps.fit, {"steps": [], "rows": {"x": np.ones(2)}}),
    "steps.apply_to_request": (
        lambda **given: steps.apply_to_request(steps.fit([steps.Clip(columns=("x",))], {"x": np.ones(2)}), **given),
        {"request": {"x": 1.0}, "time": 1.0},
    ),
    "steps, one value": (
        lambda x: steps.apply_to_request(steps.fit([steps.Clip(columns=("x",))], {"x": np.ones(2)}), {"x": x}),
        {"x": 1.0},
    ),
    "plain_rows": (lambda given: rows.plain_rows("rows", given), {"given": []}),
    "check_reward": (checks.check_reward, {"reward": 1.0}),
    "require_integer": (lambda value: checks.require_integer("n", value, at_least=1), {"value": 1}),
    "require_number": (lambda value: checks.require_number("n", value), {"value": 1}),
    "one_of": (lambda value: errors.one_of("n", value, ("a", "b")), {"value": "a"}),
    "seconds": (lambda unit: times.seconds("time", np.ones(2), unit=unit), {"unit": "s"}),
}
NO_POLICIES = ("Recommender", "Jitted", "JaxRandom", "Policy")
PUBLIC = {name: getattr(recsdk, name) for name in recsdk.__all__ if name not in NO_POLICIES}
CONFIGS = [value for value in PUBLIC.values() if inspect.isclass(value) and hasattr(value, "probs")]


def live_calls(ids):
    """Returns what a recommender is asked, with arguments that are right."""
    return {
        "recommend": {"request": {"age": 3}, "size": 1, "candidates": None, "seen": (), "at_most": False, "decision_id": None},
        "recommend, a feature": {"age": 3},
        "reward": {"decision_id": "d", "value": 1.0, "item": ids[1], "reward_id": None},
        "reward_slate": {"decision_id": "d", "values": {}, "others": 0.0},
        "add_items": {"rows": []},
        "remove_items": {"ids": []},
    }


def check_live(shop, folder, share):
    """Asserts that what a live recommender refuses, by a typed error, leaves no trace."""
    ids = shop.recommend({}, size=2, decision_id="d").ids
    functions = {"recommend, a feature": lambda **features: shop.recommend(features)}
    for name, arguments in live_calls(ids).items():
        function = functions.get(name) or getattr(shop, name)

        def traced(function=function, **given):
            before = tables(folder), state(shop), catalogue(shop)
            try:
                function(**given)
            except Exception:
                assert (tables(folder), state(shop), catalogue(shop)) == before
                raise

        assert refusals(name, traced, arguments, share) == []


def check_open(folder, share):
    """Asserts that a folder that cannot be opened is refused by a typed error."""
    numbers = iter(range(10**6))
    arguments = {name: parameter.default for name, parameter in inspect.signature(Recommender.open).parameters.items()}
    arguments |= {"folder": folder, "items": CATALOGUE, "policy": "uniform"}

    def opened(**given):
        if given["folder"] is folder:
            given["folder"] = folder / str(next(numbers))
        Recommender.open(**given).close()

    assert refusals("open", opened, arguments, share) == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_refuse_bad_values_by_typed_errors(name):
    assert refusals(name, *FUNCTIONS[name], 1.0) == []


@pytest.mark.parametrize("step", [*steps.pipeline.KNOWN.values(), datasets.Delimited, datasets.Sequences], ids=lambda step: step.__name__)
def test_steps_and_forms_refuse_bad_values_by_typed_errors(step):
    defaults = {name: ("x",) if name == "columns" else value.default for name, value in inspect.signature(step).parameters.items()}
    assert refusals(step.__name__, step, defaults, 1.0) == []


@pytest.mark.parametrize("policy", CONFIGS, ids=lambda policy: policy.__name__)
def test_configs_refuse_bad_values_by_typed_errors(policy):
    arguments = {name: value.default for name, value in inspect.signature(policy).parameters.items()}
    if all(value is not inspect.Parameter.empty for value in arguments.values()):
        assert refusals(policy.__name__, policy, arguments, 1.0) == []


def test_a_live_recommender_refuses_bad_values_and_keeps_no_trace(tmp_path):
    with small_recommender(tmp_path) as shop:
        check_live(shop, tmp_path, SHARE)


def test_opening_refuses_bad_values_by_typed_errors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_open(tmp_path, SHARE)


@pytest.mark.slow
def test_every_bad_value_in_every_argument_of_the_live_loop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_open(tmp_path, 1.0)
    with small_recommender(tmp_path / "shop") as shop:
        check_live(shop, tmp_path / "shop", 1.0)
