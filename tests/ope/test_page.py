import re

import numpy as np
import pytest

from recsdk.errors import InvalidReward, MissingExtra
from recsdk.ope import Options, ips, rounds, value
from recsdk.ope.comparison import evaluate_all
from recsdk.ope.evaluation import Target
from recsdk.ope.report.page import page, sections
from recsdk.ope.report.pictures import propensities, support, weights
from recsdk.ope.weighting import importance
from tests.ope.logs import log_of, random_log

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

SIZE = 600


@pytest.fixture(scope="module")
def logged():
    log, probs, _ = random_log(3, SIZE)
    return log, probs


def hardly(size):
    return np.where(np.arange(size) < 5, 1.0, 0.0)


@pytest.fixture(scope="module")
def asked(logged):
    log, probs = logged
    targets = {"new & <b>bold</b>": Target(probs), "hardly": Target(hardly(SIZE))}
    return evaluate_all(log, targets, Options(reward_range=(0, 1), max_weight=80))


@pytest.fixture(scope="module")
def written(asked):
    return page(asked, title="a <script> & b")


def test_a_page_loads_nothing(written):
    addresses = set(re.findall(r"https?://[^\"' <)]+", written))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # names, not addresses
    assert not re.search(r"<(script|link|img|iframe|object)\b|@import|url\((?!#)", written)


def test_names_are_text_and_not_markup(written):
    assert "a &lt;script&gt; &amp; b" in written
    assert "<b>bold" not in written
    assert "new &amp; &lt;b&gt;bold&lt;/b&gt;" in written


def test_every_picture_has_its_table_and_says_how_to_read_it(asked, written):
    parts = sections(asked)
    assert all(part.chart is not None and part.rows and part.note.endswith((".", ". ")) for part in parts)
    assert written.count("<svg") == len(parts) == 6
    assert written.count("<summary>Table</summary>") == len(parts)
    assert all(len(row) == len(part.columns) for part in parts for row in part.rows)


def cells(found, title):
    (part,) = (part for part in sections(found) if part.title == title)
    return part.rows


@pytest.mark.parametrize("title", ["Values", "Value over time", "Sensitivity to the largest weights"])
def test_what_is_withheld_has_no_value_in_it(logged, asked, title):
    log, _ = logged
    assert not any(row[0] == "hardly" for row in cells(asked, title))
    forced = evaluate_all(log, {"hardly": Target(hardly(SIZE))}, Options(force=True))
    assert any(row[0] == "hardly" for row in cells(forced, title))


def test_a_page_of_refusals_alone_has_reasons(logged):
    log, _ = logged
    written = page(evaluate_all(log, {"hardly": Target(hardly(SIZE))}, Options(reward_range=(0, 1))))
    assert "Withheld, since the log cannot answer: hardly." in written
    assert "below 10: log about" in written


@pytest.mark.parametrize("num_matched", [0, 1])
def test_a_page_is_drawn_even_where_nothing_or_one_round_alone_answers(logged, num_matched):
    log, _ = logged
    target = Target(np.where(np.arange(SIZE) < num_matched, log.propensity, 0.0))
    written = page(evaluate_all(log, {"lonely": target}, Options(force=True, estimators=("snips",), reward_range=(0, 1))))
    assert ("<td>lonely</td><td>snips</td>" in written) == bool(num_matched)
    assert "nan" not in written.replace("nance", "")


def test_values_are_those_of_the_answers(logged, asked):
    log, probs = logged
    row = next(row for row in cells(asked, "Values") if row[1] == "ips")
    assert float(row[2]) == pytest.approx(value(ips(rounds(log, probs))), rel=1e-3)
    last = [row for row in cells(asked, "Value over time") if row[1] == str(SIZE)]
    assert [row[2] for row in last] == [row[2]]
    assert cells(asked, "Sensitivity to the largest weights")[0][3] == row[2]


def test_a_histogram_has_all_rounds_and_all_weight(asked):
    points = weights(asked.rounds)
    for name, each in asked.rounds.items():
        own = [point for point in points if point["target"] == name]
        assert sum(point["mass"] for point in own) == pytest.approx(1)
        assert sum(point["rounds"] for point in own) == pytest.approx((importance(each) > 0).mean())


def test_a_histogram_may_have_one_weight_only():
    found = evaluate_all(log_of([0, 1] * 50, [0.0, 1.0] * 50, [0.5] * 100), {"same": Target(np.full(100, 0.5))}, Options())
    (point,) = weights(found.rounds)
    assert point["low"] < 1 < point["high"]
    assert point["rounds"] == point["mass"] == 1


def test_support_is_the_mass_on_what_the_log_never_took():
    probs = np.tile([0.7, 0.25, 0.05], (200, 1))
    log = log_of([0, 1] * 100, [0.0, 1.0] * 100, [0.5] * 200, num_candidates=3)
    found = evaluate_all(log, {"new": Target(probs)}, Options())
    shares = {point["taken"]: point["share"] for point in support(found.rounds)}
    assert shares == pytest.approx({"never": 0.05, "1 to 9 times": 0, "10 to 99 times": 0, "100 times and more": 0.95})


def test_swapped_propensities_stand_out_first():
    rng = np.random.default_rng(0)
    action = (rng.random(4000) < 0.2).astype(int)
    found = propensities(rounds(log_of(action, rng.random(4000), np.where(action, 0.2, 0.8)), np.full(4000, 0.1)))
    assert all(abs(point["z"]) < 4 for point in found)
    swapped = propensities(rounds(log_of(action, rng.random(4000), np.where(action, 0.8, 0.2)), np.full(4000, 0.1)))
    assert {point["item"]: round(point["mean"], 1) for point in swapped} == {0: 4.0, 1: 0.3}
    assert all(abs(point["z"]) > 10 for point in swapped)


def test_without_a_declared_range_there_is_no_confidence_sequence(logged):
    log, probs = logged
    found = evaluate_all(log, {"new": Target(probs)}, Options())
    (part,) = (part for part in sections(found) if part.title == "Value over time")
    assert part.columns == ("target", "rounds", "value")
    assert "--reward-range" in part.note
    page(found)


def test_rounds_that_stand_for_others_have_no_confidence_sequence(logged):
    log, probs = logged
    uneven = log._replace(weight=np.where(np.arange(SIZE) % 2, 1.0, 3.0))
    found = evaluate_all(uneven, {"new": Target(probs)}, Options(reward_range=(0, 1)))
    (part,) = (part for part in sections(found) if part.title == "Value over time")
    assert "No confidence sequence is known" in part.note
    assert cells(found, "Value over time")[-1][2] == next(row for row in cells(found, "Values") if row[1] == "ips")[2]


def test_a_reward_outside_the_declared_range_is_refused(logged):
    log, probs = logged
    with pytest.raises(InvalidReward, match=r"declared range \[0, 0\.5\]"):
        page(evaluate_all(log, {"new": Target(probs)}, Options(reward_range=(0, 0.5))))


def test_a_missing_extra_is_named(asked, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"\[report\]"):
        page(asked)
