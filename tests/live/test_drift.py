"""The population stability index, and that it is an alarm where features have moved, and rarely otherwise."""

import json
import math

import numpy as np
import pytest

from recsdk.ledger import DecisionRecord, ItemRecord
from recsdk.live import drift
from recsdk.live.drift import Drift, drifted


def test_the_index_is_the_known_one_for_known_shares():
    before, now = ["a"] * 600 + ["b"] * 400, ["a"] * 300 + ["b"] * 700
    p, q = np.array([600.5, 400.5]) / 1001, np.array([300.5, 700.5]) / 1001
    found = drifted(before, now)
    assert found.psi == pytest.approx(sum((q - p) * np.log(q / p)))
    assert found.psi == pytest.approx(0.3 * math.log(2) + 0.3 * math.log(1.75), rel=0.01)  # of the shares as they are
    assert (found.is_on, found.most) == (True, 0.25)


@pytest.mark.parametrize(
    ("freedom", "level", "known"), [(1, 0.95, 3.841), (9, 0.999, 27.877), (10, 0.99, 23.209), (20, 0.999, 45.315), (0, 0.9, 0.0)]
)
def test_quantiles_of_chi_squared_are_those_of_the_tables(freedom, level, known):
    assert drift._chi_squared(freedom, level) == pytest.approx(known, rel=0.03)


def shifted(kind, rng, size, by):
    """Values of a feature, moved by `by`."""
    if kind == "numbers":
        return (rng.normal(size=size) + by).tolist()
    if kind == "few numbers":
        return rng.binomial(4, 0.2 + 0.3 * by, size=size).tolist()
    if kind == "texts":
        return [f"t{number}" for number in rng.geometric(0.2 + 0.4 * by, size=size)]
    if kind == "bools":
        return (rng.random(size) < 0.2 + 0.4 * by).tolist()
    if kind == "lists":
        return [["x", "y"][: 1 + (value < 0.2 + 0.4 * by)] for value in rng.random(size)]
    if kind == "with gaps":
        return [value if share > 0.1 + 0.4 * by else None for value, share in zip(rng.normal(size=size), rng.random(size), strict=True)]
    return [f"session-{rng.integers(2**60)}" for _ in range(size)]


KINDS = ["numbers", "few numbers", "texts", "bools", "lists", "with gaps"]


@pytest.mark.parametrize("kind", KINDS)
def test_values_that_have_moved_are_an_alarm_and_others_are_not(kind):
    rng = np.random.default_rng(0)
    before = shifted(kind, rng, 1_000, 0.0)
    assert drifted(before, shifted(kind, rng, 1_000, 1.0)).is_on
    for size in (100, 1_000):
        assert not drifted(before, shifted(kind, rng, size, 0.0), among=10).is_on


def test_ids_that_are_new_each_time_are_no_alarm():
    rng = np.random.default_rng(0)
    assert not drifted(shifted("ids", rng, 1_000, 0), shifted("ids", rng, 1_000, 0)).is_on


def test_a_feature_that_came_or_went_or_changed_its_type_is_an_alarm():
    assert drifted([None] * 1_000, [1.0] * 1_000).is_on
    assert drifted(["x"] * 1_000, [None] * 1_000).is_on
    assert drifted(list(range(1_000)), [str(number) for number in range(1_000)]).is_on
    assert not drifted([None] * 1_000, [None] * 100).is_on
    assert not drifted([], [1.0]).is_on


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [100, 1_000])
def test_the_rate_of_false_alarms_is_at_most_the_stated_one(kind, size, monkeypatch):
    monkeypatch.setattr(drift, "MOST", 0.0)  # by chance alone, not by the rule of thumb
    monkeypatch.setattr(drift, "FALSE_ALARMS", 0.01)
    rng, num_runs = np.random.default_rng(size), 2_000
    found = sum(drifted(shifted(kind, rng, 1_000, 0.0), shifted(kind, rng, size, 0.0)).is_on for _ in range(num_runs))
    print(f"{kind}, {size} after 1,000: {found} false alarms of {num_runs}, 20 expected")
    assert found <= 20 + 4 * 20**0.5


def decision(number, **features):
    none = np.zeros(0, np.int32)
    payload = json.dumps({"request": {"user_id": f"u{number}", **features}})
    return DecisionRecord(f"d{number}", 0.0, payload, "{}", 0, none, none, np.zeros((0, 0)), np.zeros((0, 0), np.float32))


def item(slot, *, active=True, **features):
    return ItemRecord(slot, json.dumps({"id": f"i{slot}", "added": float(slot), **features}), np.zeros(0, np.float32), active)


class TestALog:
    def found(self, age=lambda number: number % 50, num=2_000, items_after=()):
        log, rng = Drift(), np.random.default_rng(0)
        for slot in range(200):
            log.add(item(slot, price=float(slot)))
        for number in range(num):
            if number == 1_000:
                for record in items_after:
                    log.add(record)
            log.add(decision(number, age=age(number), city=str(rng.integers(3))))
        return log.found()

    def test_requests_and_items_that_stay_alike_have_an_index_near_0(self):
        found = self.found()
        assert list(found) == ["item.price", "request.age", "request.city"]
        assert all(one.psi < 0.02 and not one.is_on for one in found.values())

    def test_nothing_is_said_before_enough_has_come(self):
        assert self.found(num=1_099) == {}
        assert self.found(num=1_100) != {}

    def test_the_last_1_000_are_compared_with_the_first_1_000(self):
        assert self.found(lambda number: number % 50 + 40 * (number >= 1_500))["request.age"].is_on
        assert not self.found(lambda number: number % 50 + 40 * (1_000 <= number < 2_000), num=3_000)["request.age"].is_on

    def test_the_catalogue_after_these_is_compared_with_the_present_one(self):
        assert not self.found(items_after=[item(slot, price=float(slot - 200)) for slot in range(200, 400)])["item.price"].is_on
        assert self.found(items_after=[item(slot, price=300.0 + slot) for slot in range(200, 400)])["item.price"].is_on
        assert self.found(items_after=[item(slot, price=float(slot) + 90) for slot in range(200)])["item.price"].is_on  # all dearer
        assert self.found(items_after=[item(slot, active=False, price=float(slot)) for slot in range(100)])["item.price"].is_on
