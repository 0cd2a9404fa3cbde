"""The benchmark of the whole loop runs, and the loop by hand does the same work as recsdk. How fast anything is, no test says."""

import importlib
import json
import subprocess
import sys

import numpy as np
import pytest

import recsdk
from recsdk.data import items_from_rows
from recsdk.retrievers.exact import Exact
from tests.processes import ROOT

FOLDER = ROOT / "benchmarks"


@pytest.fixture(scope="module")
def hand():
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module("loop_contestants")
    sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    command = [sys.executable, str(FOLDER / "loop.py"), "--quick", "--json", "--items", "150", "--shown", "1,2", "--policies", "lin-ts"]
    folder = tmp_path_factory.mktemp("loop")
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder).stdout)  # noqa: S603


def test_everyone_is_timed_at_both_durabilities_and_sizes(results):
    for row in results["rows"]:
        assert 0 < row["p50"] <= row["p99"]
        assert row["decide"] > 0
        assert row["reward"] > 0
        assert row["to_bare"] > 0
        assert row["cpu_to_bare"] > 0
        assert row["memory"] is not None
        assert row["num_bytes"] is None if row["durability"] == "nothing" else row["num_bytes"] > 0
    found = [(row["contestant"], row["durability"], row["size"]) for row in results["rows"] if not row["contestant"].startswith("VW")]
    both = [("by hand", "process-crash"), ("recsdk lin-ts", "process-crash"), ("by hand", "power-loss"), ("recsdk lin-ts", "power-loss")]
    assert found == [(*key, size) for size in (1, 2) for key in [("by hand", "nothing"), *both]]
    assert {row["to_bare"] for row in results["rows"] if row["contestant"] == "by hand"} == {1}


def test_the_shares_of_the_time_sum_to_one(results):
    for name in ("by hand", "recsdk lin-ts"):
        shares = [part["share"] for part in results["parts"] if (part["contestant"], part["size"]) == (name, 1)]
        assert sum(shares) == pytest.approx(1)


def test_the_table_has_a_line_for_everyone(results, hand):
    text = importlib.import_module("loop").markdown(results)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(results["rows"]) + 2 + len({(part["contestant"], part["size"]) for part in results["parts"]})
    assert results["command"] == "python benchmarks/loop.py --items 150 --shown 1,2 --policies lin-ts --quick"


def test_the_loop_by_hand_finds_what_the_retriever_finds_and_makes_the_same_phi(hand, tmp_path):
    server, request = hand.ByHand(300, None, None), {"user_id": "7", "age": 0.25}
    user = server.encode(request)
    slots = server.nearest(user)
    found = Exact().search(server.vectors, np.random.default_rng(0), user, np.ones(300, bool), hand.K)
    assert slots.tolist() == found.tolist()
    hand.make(tmp_path / "shop", 300)
    with hand.open_shop(tmp_path / "shop", policy="lin-ts", log_features="all") as shop:
        name = shop.recommend(request).decision_id
        record = shop._loop.ledger.decision(name)
    assert sorted(record.slots.tolist()) == sorted(slots.tolist())
    by_hand = server.features(request, user, record.slots, record.time)
    np.testing.assert_allclose(by_hand[:, :3], record.features[:, :3], atol=1e-6)  # the fourth is of another clock
    np.testing.assert_allclose(by_hand[:, 4:], record.features[:, 4:], atol=1e-6)


def test_the_loop_by_hand_learns_what_lin_ts_learns(hand):
    server, policy, rng = hand.ByHand(10, None, None), recsdk.LinTS(), np.random.default_rng(3)
    state = policy.init(server.mean.copy())
    for _ in range(20):
        x, value = rng.standard_normal(len(server.mean)), rng.random()
        server.learn(x, value)
        context = recsdk.Context(x[None], np.ones(1, bool), np.zeros(1, int))
        state = policy.update(state, recsdk.Interaction(context, 0, value, 1.0, 1.0))
    np.testing.assert_allclose(server.mean, state.mean, rtol=1e-10)
    np.testing.assert_allclose(server.root, state.root, rtol=1e-10)


def test_every_position_of_the_loop_by_hand_is_drawn_from_what_is_left(hand):
    server = hand.ByHand(10, None, None)
    shown, probs = server.choose(np.random.default_rng(4).standard_normal((6, len(server.mean))), 6)
    assert sorted(shown.tolist()) == list(range(6))
    np.testing.assert_allclose(probs.sum(1), 1)
    for position, place in enumerate(shown):
        assert probs[position, place] > 0
        assert not probs[position, shown[:position]].any()


def test_the_items_of_all_are_the_same(hand):
    items = items_from_rows(hand.rows(5, 1e9))
    assert items.ids.tolist() == ["0", "1", "2", "3", "4"]
    np.testing.assert_array_equal(hand.Numbered().encode_items((), items), hand.ByHand(5, None, None).vectors)
