"""A recommender's ledger as a decision-service log: Vowpal Wabbit learns from it what `read_ledger` says, and nothing else."""

import json
import warnings

import numpy as np
import pytest
from recsdk_vw import Numbers, drive, read_dsjson, write_dsjson

import recsdk
from recsdk import ope
from recsdk.errors import InvalidLog, InvalidValue, LedgerMismatch, UnfitDecisions
from recsdk.live.checking import check_ledger
from recsdk.live.transfer import export_ledger, import_ledger

ITEMS = [{"id": f"item-{number}", "price": float(number)} for number in range(6)]


class Clock:
    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        self.now += 1.0
        return self.now


def opened(folder, **options):
    parts = {"items": ITEMS, "scorers": [dear], "policy": "lin-ts", "log_features": "all", "clock": Clock(), **options}
    return recsdk.Recommender.open(folder, **parts)


def dear(request, items):
    return items.features["price"] * (1.0 if request.features["young"] else -1.0)


def request(number):
    return {"young": number % 2 == 0, "user_id": f"u{number}"}


def same(path, folder, position, **options):
    """Returns the log at a position, after it was found to be the same in the file as in the folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnfitDecisions)
        log = recsdk.read_ledger(folder, position=position, **options)
    found = read_dsjson(path, encoding=Numbers(), position=position).log
    assert len(found.reward) == len(log.reward)
    values = []
    for one in (log, found):
        uniform = one.context.mask / one.context.mask.sum(axis=1, keepdims=True)
        values.append(ope.evaluate(one, uniform, estimators=("ips", "snips"), force=True, position=position).estimates["ips"].value)
    assert values[0] == values[1]
    for row, chosen in enumerate(log.action):
        other = found.action[row]
        assert np.array_equal(found.context.features[row, other], log.context.features[row, chosen])
        assert found.context.mask[row].sum() == log.context.mask[row].sum()
        ours, theirs = (one.context.features[row][one.context.mask[row]] for one in (log, found))
        assert np.array_equal(ours, theirs)
    for name in ("reward", "propensity", "weight"):
        assert np.array_equal(getattr(found, name), getattr(log, name))
    return log


def test_of_single_items_vowpal_wabbit_learns_the_same_as_from_the_log_that_is_read(tmp_path):
    with opened(tmp_path / "shop") as shop:
        for number in range(40):
            shown = shop.recommend(request(number))
            if number % 5:
                shop.reward(shown.decision_id, number / 7)
    counts = export_ledger(tmp_path / "shop", tmp_path / "shop.dsjson")
    assert (counts["decisions to learn from"], counts["decisions left out: not rewarded"]) == (32, 8)
    write_dsjson(tmp_path / "bare.dsjson", same(tmp_path / "shop.dsjson", tmp_path / "shop", 0))
    reports = [drive(f"--cb_explore_adf --dsjson -d {tmp_path / name}") for name in ("shop.dsjson", "bare.dsjson")]
    assert (reports[0].num_examples, reports[0].messages) == (32, ())
    assert reports[0] == reports[1]


@pytest.fixture
def pages(tmp_path):
    """A folder of pages with pins, promotions, choices of the application, pages served again, prefetched or not rewarded, and a forgotten
    user; and what was counted as it was exported."""
    with opened(tmp_path / "shop", traffic=recsdk.Traffic(sticky=1e6, holdout=0.2)) as shop:
        for number in range(30):
            kind, options = number % 10, {}
            if kind == 1:
                options = {"pinned": {0: "item-3"}}
            elif kind == 2:
                options = {"pinned": {1: "item-3"}}
            elif kind == 3:
                options = {"promoted": {0: ["item-1", "item-2"]}}
            elif kind == 4:
                options = {"chosen": ["item-5", "item-0"]}
            elif kind in (5, 6):
                options = {"deferred": True}
            shown = shop.recommend(request(number), size=2, **options)
            if kind == 6:
                shop.shown(shown.decision_id)
            if kind == 7:
                shop.recommend(request(number), size=2)
            if kind == 8:
                shop.reward(shown.decision_id, 3.0, position="page")
            elif kind not in (5, 9):
                shop.reward_slate(shown.decision_id, {shown.ids[number % 2]: number / 7})
        assert shop.forget("u20").num_decisions == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnfitDecisions)
        counts = export_ledger(tmp_path / "shop", tmp_path / "shop.dsjson")
    return tmp_path / "shop", tmp_path / "shop.dsjson", counts


def test_of_pages_every_position_that_was_drawn_is_the_same_and_what_is_left_out_is_counted(pages):
    folder, path, counts = pages
    assert len(same(path, folder, 0).reward) + len(same(path, folder, 1).reward) == counts["positions to learn from"]
    assert {name: number for name, number in counts.items() if "left out" in name} == {
        "decisions left out: not shown": 3,
        "decisions left out: not rewarded": 3,
        "decisions left out: served again": 3,
        "decisions left out: chosen by the application": 3,
        "decisions left out: forgotten or dropped": 1,
        "positions left out: pinned": 3,  # at the top; those at the end are no slots
        "positions left out: no reward of their own": 6,
    }
    report = drive(f"--ccb_explore_adf --dsjson -d {path}")
    assert (report.num_examples, report.messages) == (counts["decisions to learn from"], ())
    found = read_dsjson(path, encoding=Numbers())
    assert (found.skipped["_skipLearn"], found.num_pinned) == (12, 3)


def test_what_is_skipped_says_why_and_a_pinned_slot_has_one_candidate_with_probability_one(pages):
    lines = [json.loads(line) for line in pages[1].read_text().splitlines() if line.startswith("{")]
    assert sum(bool(line.get("_deferred")) for line in lines) == 3
    assert all(line["_skipLearn"] and "_outcomes" not in line for line in lines if "_deferred" in line)
    pinned = [
        (slot["_inc"], outcome["_a"], outcome["_p"])
        for line in lines
        for slot, outcome in zip(line["c"].get("_slots", ()), line.get("_outcomes", ()), strict=True)
        if slot.get("_pinned")
    ]
    assert len(pinned) == 3
    assert all(included == shown and probs == [1.0] for included, shown, probs in pinned)


def test_an_import_is_the_same_folder_and_a_file_that_was_changed_or_is_of_another_program_is_refused(pages, tmp_path):
    folder, path, _ = pages
    import_ledger(path, tmp_path / "again")
    assert not [finding for finding in check_ledger(tmp_path / "again") if finding.num_problems]
    same(path, tmp_path / "again", 1)
    text = path.read_text()
    changed = tmp_path / "changed.dsjson"
    cost = text.index('"_label_cost": -') + 16
    for other in (text[:cost] + "9" + text[cost:], text.replace("item-1", "item-7", 1)):
        changed.write_text(other)
        with pytest.raises(InvalidLog, match="was changed after it was exported"):
            import_ledger(changed, tmp_path / "more")
    changed.write_text("".join(text.splitlines(keepends=True)[:-1]))
    with pytest.raises(InvalidLog, match="was cut"):
        import_ledger(changed, tmp_path / "more")
    with pytest.warns(UnfitDecisions):
        write_dsjson(changed, recsdk.read_ledger(folder, position=1))
    with pytest.raises(InvalidLog, match="of another program has no catalogue"):
        import_ledger(changed, tmp_path / "more")
    assert not list(tmp_path.glob("more*"))


def test_a_hole_in_a_page_is_filled_by_a_default_reward_only_and_features_must_be_there(tmp_path):
    with opened(tmp_path / "shop") as shop:
        shown = shop.recommend(request(0), size=3)
        shop.reward(shown.decision_id, 2.0, position=2)
    with pytest.raises(InvalidValue, match=r"default_reward must say what a shown item without a reward is worth: .* below position 0"):
        export_ledger(tmp_path / "shop", tmp_path / "x.dsjson")
    assert not list(tmp_path.glob("x.dsjson*"))
    assert export_ledger(tmp_path / "shop", tmp_path / "x.dsjson", default_reward=0.5, window=0)["positions to learn from"] == 3
    assert [same(tmp_path / "x.dsjson", tmp_path / "shop", n, default_reward=0.5, window=0).reward[0] for n in range(3)] == [0.5, 0.5, 2.0]
    with opened(tmp_path / "small", log_features="shown") as shop:
        shop.reward(shop.recommend(request(0)).decision_id, 2.0)
    with pytest.raises(LedgerMismatch, match="log_features='all'"):
        export_ledger(tmp_path / "small", tmp_path / "y.dsjson")
