"""`recsdk train` and `recsdk rank-eval`."""

import csv
import json
import sys

import numpy as np
import pytest

from recsdk import Recommender, cli
from recsdk.cli import curves, events, rankings
from recsdk.encoders.checkpoint import read_header
from recsdk.encoders.saved import Saved
from recsdk.errors import InvalidReward, InvalidValue
from recsdk.ranking import by_scorer, leave_one_out, list_metrics, rank_evaluate
from recsdk.scorers.popularity import Popularity
from recsdk.scorers.seq_item_knn import SeqItemKNN

TINY = {"dim": 16, "max_length": 6, "epochs": 15, "batch_size": 32, "learning_rate": 0.03, "warmup_steps": 5, "dropout": 0.0}


def run(*arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(list(map(str, arguments)))
    return caught.value.code or 0


def told(capsys, *arguments):
    assert run(*arguments, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    return found, {each["model"]: each for each in found["models"]}


def rows():
    """Users who go on from each item to the one after it."""
    rng = np.random.default_rng(0)
    return [(f"u{user}", f"i{(start + step) % 20}", 100 * step) for user in range(60) for start in [rng.integers(20)] for step in range(6)]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "events.csv"
    path.write_text("user_id,item,time\n" + "".join(f"{user},{item},{time}\n" for user, item, time in rows()))
    return path


@pytest.fixture(scope="module")
def trained(log, tmp_path_factory):
    out = tmp_path_factory.mktemp("model") / "made" / "model.safetensors"
    settings = [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]
    assert run("train", log, "gru", *settings, "--against", "popularity", "--out", out, "--curve", out.with_suffix(".csv")) == 0
    return out


def test_a_trained_model_beats_popularity_and_says_so(log, trained, capsys):
    found, models = told(capsys, "rank-eval", log, trained, "--against", "popularity")
    difference = models[str(trained)]["differences"]["popularity"]
    assert difference["ndcg"]["low"] > 0.3
    assert difference["ndcg_verdict"] == "better"
    assert (found["cases"], found["items"], found["at"], found["history_is_masked"]) == (60, 20, 10, True)
    assert found["notes"] == [f"{log}: there is no reward: every event counts as taken."]


def test_the_curve_has_a_row_for_each_epoch_and_the_best_is_that_of_the_model(trained, tmp_path):
    with trained.with_suffix(".csv").open() as file:
        epochs = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in epochs] == list(range(1, len(epochs) + 1))
    validation = [float(row["validation"]) for row in epochs]
    assert len(epochs) <= TINY["epochs"]
    assert all(float(row["seconds"]) > 0 for row in epochs)
    assert float(epochs[-1]["loss"]) < float(epochs[0]["loss"])
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    history = np.array([[float(row[name]) for name in curves.COLUMNS[1:]] for row in epochs])
    best = int(np.argmax(validation)) + 1
    curves.write(tmp_path / "made" / "curve.svg", history, best)
    assert f"the best epoch, {best}," in (tmp_path / "made" / "curve.svg").read_text()


@pytest.mark.parametrize(
    ("model", "file", "message"), [("ease", "a.csv", "got the model 'ease'"), ("gru", "a.pdf", "must be a file .csv, .svg or .png, got")]
)
def test_a_curve_that_cannot_be_is_told_before_anything_is_fitted(model, file, message, log, monkeypatch, capsys):
    monkeypatch.setattr(rankings, "fitted", None)
    assert run("train", log, model, "--curve", file) != 0
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_saved_model_ranks_as_it_did_when_it_was_trained(log, trained, capsys):
    kept = read_header(trained)["notes"]["measured"]
    _, models = told(capsys, "rank-eval", log, trained, "--against", "popularity")
    assert {**models[str(trained)], "model": "gru"} == kept


def test_a_recommender_serves_the_saved_model(trained, tmp_path):
    items = [{"id": f"i{n}"} for n in range(20)]
    history = [{"user_id": user, "item": item, "time": float(time)} for user, item, time in rows()]
    with Recommender.open(tmp_path / "shop", items=items, history=history, encoder=Saved(path=str(trained)), policy="lin-ts") as shop:
        assert len(set(shop.recommend({"history": ["i3", "i4"]}, size=20).ids)) == 20


def test_figures_are_those_of_rank_evaluate(log, capsys):
    found, models = told(capsys, "train", log, "seq-item-knn", "--set", "window=3", "--at", "5")
    split = leave_one_out(events.read(log, None, columns=None, time_unit="s").log)
    scorer = SeqItemKNN(window=3)
    wanted = rank_evaluate(by_scorer(scorer, scorer.fit(split.refit)), split.test, at=5)
    assert models["seq-item-knn"]["ndcg"] == pytest.approx(wanted.ndcg._asdict())
    assert set(models) == {"popularity", "seq-item-knn", "ease", "seq-item-knn (default)"}
    assert set(models["seq-item-knn"]["differences"]) == {"popularity", "ease", "seq-item-knn (default)"}
    assert "window=3" in models["seq-item-knn"]["part"]
    assert "window=3" not in models["seq-item-knn (default)"]["part"]
    assert found["events_fitted_to"] == len(split.refit.item)


def test_lists_are_described_on_request(log, tmp_path, capsys):
    items = tmp_path / "items.csv"
    items.write_text("id,genre\n" + "".join(f"i{n},{'war' if n % 2 else 'drama'}\n" for n in range(20)))
    _, models = told(capsys, "rank-eval", log, "popularity", "--against", "popularity", "--at", "5", "--lists")
    assert models["popularity"]["lists"]["diversity"] is None
    asked = ("rank-eval", log, "popularity", "--items", items, "--against", "popularity", "--at", "5", "--groups", "genre")
    _, models = told(capsys, *asked)
    split = leave_one_out(events.read(log, items, columns=None, time_unit="s").log)
    scores = by_scorer(Popularity(), Popularity().fit(split.refit))
    wanted = list_metrics(scores, split.test, split.refit, at=5, groups="genre")
    assert models["popularity"]["lists"]["gini"] == wanted.gini
    assert models["popularity"]["lists"]["calibration"] == pytest.approx(wanted.calibration._asdict())
    assert run(*asked) == 0
    assert "calibration" in capsys.readouterr().out


def test_settings_are_chosen_on_the_validation_without_a_look_at_the_test(log, capsys):
    _, models = told(capsys, "train", log, "popularity", "--on", "validation")
    split = leave_one_out(events.read(log, None, columns=None, time_unit="s").log)
    part = SeqItemKNN()
    wanted = rank_evaluate(by_scorer(part, part.fit(split.train)), split.validation)
    assert models["seq-item-knn"]["mrr"] == pytest.approx(wanted.mrr._asdict())


def test_what_came_from_a_moment_on_may_be_held_out(log, capsys):
    found, _ = told(capsys, "train", log, "popularity", "--test-time", "300")
    assert found["held_out"] == "what came from 300 on"
    assert found["events_fitted_to"] == 60 * 3
    found, _ = told(capsys, "train", log, "popularity", "--test-time", "1970-01-01T00:06:40", "--on", "validation")
    assert found["held_out"] == "what came from 300 on and before 400"


def test_a_test_longer_than_what_precedes_it_needs_no_validation(log, capsys):
    found, _ = told(capsys, "train", log, "popularity", "--test-time", "200", "--against", "popularity")
    assert (found["held_out"], found["events_fitted_to"]) == ("what came from 200 on", 60 * 2)
    assert run("train", log, "popularity", "--test-time", "200", "--on", "validation") == 2
    assert "The validation begins as long before the test as that lasts; validation_time says when else." in capsys.readouterr().err
    assert run("train", log, "popularity", "--test-time", "200", "--validation-time", "300") == 2
    assert "validation_time must be before test_time, 200, got 300." in capsys.readouterr().err


@pytest.mark.parametrize("command", [["train"], ["rank-eval", "ease"]])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against", "popularty"], "No encoder and no scorer is named 'popularty'. Did you mean 'popularity'?"),
        (["--at", "0"], "at must be"),
    ],
)
def test_nothing_is_fitted_before_all_options_are_known_to_be_good(command, arguments, message, log, monkeypatch, capsys):
    monkeypatch.setattr(rankings, "fitted", None)
    name, *first = command
    assert run(name, log, *first, "popularity", *arguments) == 2
    assert message in capsys.readouterr().err


def test_nothing_is_fitted_without_what_writes_the_model(log, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rankings, "fitted", None)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert run("train", log, "popularity", "--out", tmp_path / "model") == 2
    assert "Checkpoints need safetensors" in capsys.readouterr().err


def test_a_model_is_kept_even_if_it_cannot_be_measured(log, tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise InvalidValue("stopped")

    monkeypatch.setattr(rankings, "rank_evaluate", stopped)
    assert run("train", log, "popularity", "--out", tmp_path / "model") == 2
    assert set(read_header(tmp_path / "model")["notes"]) == {"fitted", "held_out"}


def test_a_table_is_printed_for_people(log, capsys):
    assert run("rank-eval", log, "popularity", "seq-item-knn", "--rank-history") == 0
    printed = capsys.readouterr().out
    assert "popularity against seq-item-knn: -" in printed
    assert ", worse" in printed
    assert "history ranked" in " ".join(printed.split())


def test_a_model_that_has_seen_the_test_is_told(log, trained, tmp_path, capsys):
    shorter = tmp_path / "shorter.csv"
    shorter.write_text("".join(line for line in log.read_text().splitlines(keepends=True) if not line.endswith(",500\n")))
    found, _ = told(capsys, "rank-eval", shorter, trained, "--against", "popularity")
    assert "its figures too good" in found["notes"][-1]


def test_a_model_of_other_features_is_told(tmp_path, capsys):
    path, out = tmp_path / "log.csv", tmp_path / "model"
    path.write_text("user_id,item,time,device\n" + "".join(f"{user},{item},{time},phone\n" for user, item, time in rows()))
    assert run("train", path, "popularity", "--features", "device", "--out", out) == 0
    _ = capsys.readouterr()
    found, _ = told(capsys, "rank-eval", path, out, "--features", "device", "--against", "popularity")
    assert found["notes"] == [f"{path}: there is no reward: every event counts as taken."]
    found, _ = told(capsys, "rank-eval", path, out, "--against", "popularity")
    assert "with the same --features" in found["notes"][-1]


def test_a_scorer_of_another_catalogue_is_refused(log, tmp_path, capsys):
    out, turned = tmp_path / "knn.safetensors", tmp_path / "turned.csv"
    assert run("train", log, "item-knn", "--out", out) == 0
    header, *lines = log.read_text().splitlines(keepends=True)
    turned.write_text(header + "".join(sorted(lines)[::-1]))
    assert run("rank-eval", turned, out) == 2
    assert "must be of a scorer that was fitted to this catalogue" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu\tx\t0\t7\nu\ty\t4\t8\n"),
        ("a.csv", "userId,movieId,rating,timestamp\nu,x,0,7\nu,y,4,1970-01-01T00:00:08Z\n"),
        (
            "a.jsonl",
            '{"user": "u", "item": "x", "reward": 0, "time": 7}\n{"user": "u", "item": "y", "reward": 4, "time": 8}\n',
        ),
    ],
)
def test_columns_with_usual_names_are_found_and_told(name, text, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    found = events.read(path, None, columns=None, time_unit="s")
    assert found.log.requests["user_id"].tolist() == ["u", "u"]
    assert found.log.items.ids[found.log.item].tolist() == ["x", "y"]
    assert found.log.time.tolist() == [7.0, 8.0]
    assert found.log.reward.tolist() == [0.0, 4.0]
    assert f"{path}: 1 of 2 events have a reward <= 0 and do not count as taken." in found.notes
    assert any("user is the column 'user" in note for note in found.notes) == ("user_id" not in text)


def test_a_column_that_another_takes_the_place_of_is_left_out_and_told(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user_id,visitor,item,time\nold,new,x,1\n")
    found = events.read(path, None, columns="user=visitor", time_unit="s")
    assert found.log.requests["user_id"].tolist() == ["new"]
    assert f"{path}: the column 'user_id' is left out, since another one is named for it." in found.notes


def test_items_bring_features_and_those_that_only_events_have_are_told(tmp_path):
    log, items = tmp_path / "log.csv", tmp_path / "items.csv"
    log.write_text("who,what,when,device\n7,x,1,phone\n7,z,2,\n")
    items.write_text("id,price,kind\nx,2.5,tea\ny,,\n")
    found = events.read(log, items, columns="user=who,item=what,time=when", time_unit="s", features="device")
    assert found.log.items.ids.tolist() == ["x", "y", "z"]
    assert found.log.items.features["kind"].tolist() == ["tea", None, None]
    np.testing.assert_array_equal(found.log.items.features["price"], [2.5, np.nan, np.nan])
    assert found.log.requests["device"].tolist() == ["phone", None]
    assert found.log.requests["user_id"].tolist() == ["7", "7"]
    assert f"{log}: 1 of its items are not in {items}: they have no features." in found.notes


def test_columns_that_tell_the_outcome_reach_no_request_unless_they_are_named(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user_id,item,time,reward,rating,review,device\nu,x,1,1,5,great,phone\n")
    found = events.read(path, None, columns=None, time_unit="s")
    assert set(found.log.requests) == {"user_id"}
    assert any("left out are the columns ['rating', 'review', 'device']" in note for note in found.notes)
    found = events.read(path, None, columns=None, time_unit="s", features="device")
    assert set(found.log.requests) == {"user_id", "device"}
    assert any("left out are the columns ['rating', 'review'];" in note for note in found.notes)


def test_a_column_that_the_first_row_lacks_is_found(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"user": "u", "item": "x", "time": 7}\n{"user": "u", "item": "y", "time": 8, "rating": 0}\n')
    with pytest.raises(InvalidReward, match="in line 1 "):
        events.read(path, None, columns=None, time_unit="s")


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("visitor,item,when\nu,x,1\n", [], "must say user and time; it has the columns ['visitor', 'item', 'when']. Name them: --columns"),
        ("user,item,time\nu,x,1\nu,y,soon\n", [], "'time' in line 3 of "),
        ("user,item,time\nu,x,1\nu,,2\n", [], "'item' in line 3 of "),
        ("user,item,time\nu,x,1\n", ["--columns", "user=usr"], "has no column 'usr', for user. Did you mean 'user'?"),
        ("user,item,time\nu,x,1\n", ["--columns", "uses=user"], "events have no field 'uses'. Did you mean 'user'?"),
        ("user,item,time\nu,x,1700000000000\n", [], "declare time_unit='ms'"),
        ("user,item,time\nu,x,1\n", [], "log must have a user, by 'user_id', with three items"),
        ("user,item,time\nu,x,1\n", ["--test-time", "tomorrow"], "test_time must be seconds since the epoch or an ISO date"),
        ("user,item,time\nu,x,1\n", ["--validation-time", "3"], "validation_time must be given with test_time"),
        ("user,item,time\nu,x,1\n", ["--set", "half_lif=3"], "has no hyper-parameter 'half_lif'. Did you mean 'half_life'?"),
        ("user,item,time\nu,x,1\n", ["--set", "half_life"], "set must be a setting and its value, such as dim=32"),
        ("user,item,time\n", [], "must have at least one row"),
        ("user,item,time,age\nu,x,1,2\n", ["--features", "agee"], "has no column 'agee', for features. Did you mean 'age'?"),
        ("user,item,time\nu,x,1\n", ["--features", "item"], "features must be other columns than user, item, time, reward and history"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(text, arguments, message, tmp_path, capsys):
    path = tmp_path / "log.csv"
    path.write_text(text)
    assert run("train", path, "popularity", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error.splitlines()[-1]


def test_a_model_that_is_not_there_is_told_before_anything_is_read(tmp_path, capsys):
    assert run("train", tmp_path / "none.csv", "sasrek") == 2
    assert "No encoder and no scorer is named 'sasrek'. Did you mean 'sasrec'?" in capsys.readouterr().err
    assert run("train", tmp_path / "none.csv", "popularity", "--out", tmp_path) == 2
    assert "out must be a file" in capsys.readouterr().err
