"""What is old is dropped; what was learned of it stays, to the last bit, and what can't be done without it is told."""

import subprocess
import sys
import warnings

import pytest

import recsdk
from recsdk import Feedback, Receipt, read_ledger
from recsdk.errors import ChangedSetting, ExpiredDecision, InvalidValue, LedgerCorrupt, LedgerError, UnfitDecisions
from recsdk.ledger.redaction import SCRUB
from recsdk.ledger.sqlite import Sqlite
from recsdk.live import dropping
from recsdk.live import learner as learning
from recsdk.live.checking import check_ledger
from recsdk.live.keeping import DAY, compact
from recsdk.live.reproduce import reproduce
from recsdk.live.skew import recompute
from recsdk.live.transfer import export_ledger, import_ledger
from tests.ledger.memory import Memory
from tests.live.shop import CATALOGUE, Centred, Hashing, NativeTally, TopicTally, alter, crash, forget_snapshots, open_recommender, state

START = 1_700_000_000.0
LINEAR = {"policy": "lin-ts"}
PARTS = {
    "linear": LINEAR,
    "wide-deep": {"policy": "wide-deep"},
    "online": {"policy": "lin-ucb", "scorers": ["popularity", TopicTally()]},
    "all": {"policy": Centred()},
    "encoder": {"policy": "lin-ts", "encoder": Hashing()},
    "trial": {"policy": "lin-ucb", "reward_range": (0, 1), "trials": recsdk.Trials(challengers={"bold": "lin-ts", "all": Centred()})},
}


def request(number):
    return {"user_id": f"u{number % 7}"}


class Days:
    """A clock that stands until it is set."""

    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


def opened(folder, days, **parts):
    """Opens a shop whose errors and warnings pass."""
    options = {"encoder": None, "scorers": ["recency"], "log_features": "all", "clock": days}
    return open_recommender(folder, **{**options, **parts})


def visit(shop, number):
    slate = shop.recommend(request(number), size=2, candidates=[row["id"] for row in CATALOGUE[:6]], decision_id=f"d{number}")
    if number % 3:
        shop.reward(slate.decision_id, number % 4 / 3, item=slate.ids[0])


def lived(folder, days, numbers, **parts):
    """A shop with one visit a day; every fifth is rewarded once more, for the second item, three days after."""
    shop = opened(folder, days, **parts)
    for number in numbers:
        days.now = START + number * DAY
        visit(shop, number)
        if number % 5 == 0 and number >= 3:
            shop.reward(f"d{number - 3}", 1.0, position=1)
    return shop


def left(folder):
    """Returns the numbers of the visits that are left."""
    ledger = Sqlite().read(folder)
    try:
        return [int(record.decision_id[1:]) for record in ledger.decisions() if len(record.action)]
    finally:
        ledger.close()


def wrong(folder):
    return [finding for finding in check_ledger(folder) if finding.num_problems]


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_what_was_learned_stays_and_is_made_again_to_the_last_bit(tmp_path, parts):
    days = Days()
    shop = lived(tmp_path, days, range(30), **parts)
    learned, standings = state(shop), shop.standings()
    done = shop.drop(days=12.5)
    assert done[:3] == (17, 0, 14)
    assert left(tmp_path) == list(range(17, 30))
    assert state(shop) == learned
    assert shop.audit()
    for number in range(30, 40):
        days.now += DAY
        visit(shop, number)
    learned, standings = state(shop), shop.standings()
    assert shop.audit()
    crash(shop)
    forget_snapshots(tmp_path)
    with opened(tmp_path, days, **parts) as again:  # from the base, or from the snapshot
        assert state(again) == learned
        assert again.standings() == standings
        assert again.audit()
        assert again.drop(days=5.5).num_decisions == 17
        assert again.audit()
    assert left(tmp_path) == list(range(34, 40))
    assert wrong(tmp_path) == []


def test_dropped_bytes_are_gone_and_what_is_left_is_small(tmp_path):
    days = Days()
    with lived(tmp_path, days, range(30), **LINEAR) as shop:
        compact_before = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
        days.now += DAY
        assert shop.drop(days=0).num_decisions == 30
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < compact_before
    assert not any(b"user_id" in path.read_bytes() or b"d7/0" in path.read_bytes() for path in files)


def test_what_is_told_of_a_dropped_decision_is_expired_and_its_name_is_free(tmp_path):
    days = Days()
    with lived(tmp_path, days, range(20), **LINEAR) as shop:
        shop.drop(days=9.5)
        learned = state(shop)
        with pytest.raises(ExpiredDecision, match="'d4' was dropped by its age"):
            shop.reward("d4", 1.0, position=0)
        assert {shop.shown("d4"), shop.not_shown("d4"), shop.correct("d4/0", 1.0)} == {Receipt.EXPIRED}
        assert {shop.shown("d444"), shop.correct("d444/0", 1.0)} == {Receipt.UNKNOWN}
        assert state(shop) == learned
        visit(shop, 4)
        assert shop.audit()
        days.now += 100 * DAY
        assert shop.drop(days=50).num_decisions == 12  # with a second one of this name
        assert wrong(tmp_path) == []


def test_a_decision_of_which_something_came_lately_stays(tmp_path):
    days = Days()
    with lived(tmp_path, days, range(20), **LINEAR) as shop:
        shop.reward("d3", 1.0, position=0)  # now
        assert shop.drop(days=9.5).num_decisions == 8
        assert left(tmp_path)[:3] == [3, 7, 10]
        assert shop.correct("d3/0", 0.5) == Receipt.TAKEN
        assert shop.audit()
        days.now += 100 * DAY
        assert shop.drop(days=50).num_decisions == 12
        assert shop.audit()


def test_a_reward_of_a_clock_that_was_ahead_fixes_nothing_that_came_later(tmp_path):
    days = Days()
    with opened(tmp_path, days) as shop:
        for number in range(3):
            days.now = START + number * DAY
            visit(shop, number)
        days.now = START + 4_000 * DAY
        shop.reward("d2", 1.0, position=1)
        days.now = START + 8 * DAY
        shop.reward("d0", 1.0, position=1)  # the last that is dropped
        days.now = START + 30 * DAY
        assert shop.drop(days=15).num_decisions == 2
        visit(shop, 31)
        assert shop.correct("d31/0", 0.5) == Receipt.TAKEN
        assert shop.correct("d31/0", 0.5) == Receipt.DUPLICATE
        assert shop.correct("d2/0", 0.25) == Receipt.EXPIRED


def test_files_that_a_reader_kept_are_scrubbed_by_the_next_drop(tmp_path, monkeypatch):
    days = Days()
    with lived(tmp_path, days, range(8)) as shop:
        ledger = shop._loop.ledger
        with monkeypatch.context() as patch:
            patch.setattr(type(ledger), "scrub", refused)
            with pytest.raises(LedgerError):
                shop.drop(days=4)
        assert ledger.get(SCRUB) is not None
        assert shop.drop(days=4).num_decisions == 0
        assert ledger.get(SCRUB) is None


def refused(ledger):
    raise LedgerError("a reader still has the old files open")


@pytest.mark.parametrize("parts", [LINEAR, {"policy": "wide-deep"}], ids=["forgets", "cannot"])
def test_what_was_learned_before_the_last_dropped_reward_cannot_be_corrected(tmp_path, parts):
    days = Days()
    shop = opened(tmp_path, days, **parts)
    for number in range(12):
        days.now = START + number * DAY
        visit(shop, number)
    days.now += DAY
    shop.reward("d2", 1.0, position=1)  # after the rewards of those that stay
    days.now += 10 * DAY
    done = shop.drop(days=14.5)
    assert (done.num_decisions, done.num_learned) == (7, 5)
    assert left(tmp_path) == [2, 8, 9, 10, 11]
    learned = state(shop)
    assert {shop.correct("d2/0", 0.5), shop.not_shown("d2")} == {Receipt.EXPIRED}
    assert state(shop) == learned
    assert shop.correct("d8/0", 0.9) == Receipt.TAKEN
    assert state(shop) != learned
    assert shop.audit()
    shop.close()
    assert wrong(tmp_path) == []


@pytest.mark.parametrize("parts", [LINEAR, {"policy": "wide-deep"}], ids=["forgets", "cannot"])
def test_a_correction_that_was_made_before_the_drop_is_not_learned_twice(tmp_path, parts):
    days = Days()
    shop = opened(tmp_path, days, **parts)
    for number in range(12):
        days.now = START + number * DAY
        visit(shop, number)
    days.now += DAY
    shop.correct("d2/0", 0.25)  # d2 stays, and its first reward comes before the last that is dropped
    learned = state(shop)
    days.now += 10 * DAY
    assert shop.drop(days=14.5).num_learned == 5
    assert state(shop) == learned
    assert shop.audit()
    crash(shop)
    forget_snapshots(tmp_path)
    with opened(tmp_path, days, **parts) as again:
        assert state(again) == learned


@pytest.mark.parametrize("parts", [LINEAR, {"policy": "wide-deep"}], ids=["forgets", "cannot"])
def test_forgetting_takes_out_what_it_can_and_reports_the_rest(tmp_path, parts):
    days = Days()
    with lived(tmp_path, days, range(40), **parts) as shop:
        late = shop.drop(days=20.5).num_learned
        number = next(number for number, (_, record) in enumerate(shop._loop.ledger.outcomes(), 1) if number > late)
        assert number == late + 1
        done = shop.forget("u3")
        assert done.num_decisions == 4
        assert done.state == ("subtracted" if parts is LINEAR else "folded")
        assert (done.num_fixed, done.num_dropped) == (0, 18)
        assert shop.audit()
        learned = state(shop)
        crash(shop)
    forget_snapshots(tmp_path)
    with opened(tmp_path, days, **parts) as again:
        assert state(again) == learned
        assert again.drop(days=10.5).num_decisions > 5
        assert again.audit()
    assert wrong(tmp_path) == []


def test_a_share_that_is_in_the_base_for_good_is_counted(tmp_path):
    days = Days()
    shop = opened(tmp_path, days, policy="wide-deep")
    for number in range(12):
        days.now = START + number * DAY
        visit(shop, number)
    days.now += DAY
    shop.reward("d2", 1.0, position=1)
    days.now += 10 * DAY
    shop.drop(days=14.5)
    done = shop.forget("u2")  # d2 and d9
    assert (done.num_decisions, done.num_rewards, done.num_fixed) == (2, 2, 1)
    assert shop.audit()
    shop.close()


def test_another_policy_begins_after_the_last_dropped_reward_and_says_so(tmp_path):
    days = Days()
    with lived(tmp_path, days, range(30), **LINEAR) as shop:
        done = shop.drop(days=12.5)
        learned = state(shop)
    told = rf"The first {done.num_learned} rewards of this folder were learned by another policy"
    with pytest.warns(ChangedSetting, match=told):
        shop = opened(tmp_path, days, policy="lin-ucb")
    assert shop.num_learned == learned[0]
    assert shop.audit()
    shop.close()
    with opened(tmp_path, days, **LINEAR) as shop:  # the base is still there
        assert state(shop) == learned
    with pytest.warns(ChangedSetting, match=told):
        shop = opened(tmp_path, days, policy="lin-ucb")
    with pytest.warns(ChangedSetting, match=told):
        shop.drop(days=8.5)
    assert shop.audit()
    shop.close()


def test_a_challenger_that_was_promoted_takes_what_it_had_learned_by_the_base_along(tmp_path, monkeypatch):
    days, parts = Days(), PARTS["trial"]
    with lived(tmp_path, days, range(30), **parts) as shop:
        shop.drop(days=12.5)
        monkeypatch.setattr(shop._loop.contest, "proven", lambda name: None)
        shop.promote("bold")
        for number in range(30, 36):
            days.now += DAY
            visit(shop, number)
        learned = state(shop)
        assert shop.audit()
        crash(shop)
    forget_snapshots(tmp_path)
    with opened(tmp_path, days, **parts) as again:
        assert state(again) == learned
        assert again.audit()
    told = "were learned by another policy"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with opened(tmp_path, days, policy="lin-ts", reward_range=(0, 1)) as alone:  # it goes on alone
            assert state(alone) == learned
            assert alone.audit()
    with pytest.warns(ChangedSetting, match=told):
        opened(tmp_path, days, policy="wide-deep").close()


def test_a_new_model_and_the_way_back_learn_from_what_is_left(tmp_path):
    days = Days()
    with lived(tmp_path, days, range(30), **LINEAR) as shop:
        shop.swap(scorers=["recency", "popularity"])
        shop.drop(days=12.5)
        assert shop.audit()
        told = "were learned by another policy or model"
        with pytest.warns(ChangedSetting, match=told):
            shop.rollback()
        assert shop.audit()
        with pytest.warns(ChangedSetting, match=told):
            shop.swap(scorers=["recency", "popularity"], history=[{"item": CATALOGUE[0]["id"], "time": START}])
        assert shop.audit()
        learned = state(shop)
    with opened(tmp_path, days, scorers=["recency", "popularity"], **LINEAR) as again:
        assert state(again) == learned
        assert again.audit()


def test_a_native_policy_goes_on(tmp_path):
    days = Days()
    with lived(tmp_path, days, range(20), policy=NativeTally(), scorers=[]) as shop:
        shop.drop(days=9.5)
        learned = state(shop)
        crash(shop)
        shop._loop.learner.close()
    forget_snapshots(tmp_path)
    with opened(tmp_path, days, policy=NativeTally(), scorers=[]) as again:
        assert state(again) == learned


def test_reproduce_and_skew_begin_at_the_base(tmp_path):
    days = Days()
    with lived(tmp_path, days, range(30), **LINEAR) as shop:
        done = shop.drop(days=12.5)
    found = reproduce(tmp_path)
    assert found.agreement == "same"
    assert reproduce(tmp_path, to=done.num_learned).num_learned == done.num_learned
    with pytest.raises(InvalidValue, match=rf"to must be at least {done.num_learned}.* older ones were dropped"):
        reproduce(tmp_path, to=done.num_learned - 1)
    skew = recompute(tmp_path, share=1.0)
    assert skew.num_same == 13
    assert not skew.different


def test_skew_leaves_out_what_was_decided_before_the_base(tmp_path):
    days = Days()
    with opened(tmp_path, days, **LINEAR) as shop:
        for number in range(12):
            days.now = START + number * DAY
            visit(shop, number)
        shop.reward("d2", 1.0, position=1)  # so that it stays
        assert shop.drop(days=3.5).num_decisions == 7
    assert recompute(tmp_path, share=1.0) == (4, {}, 1)


def test_an_evaluation_reads_what_is_left_and_says_so(tmp_path):
    days = Days()
    with lived(tmp_path, days, range(30), **LINEAR) as shop:
        shop.drop(days=12.5)
    with pytest.warns(UnfitDecisions, match="17 decisions, of up to 2023-11-30 22:13:20.*were dropped by their age"):
        log = read_ledger(tmp_path)
    assert len(log.reward) == sum(number % 3 > 0 for number in range(17, 30))


def test_an_export_a_backup_and_a_compaction_go_on(tmp_path):
    days = Days()
    folder = tmp_path / "shop"
    with lived(folder, days, range(30), **LINEAR):
        pass
    assert compact(folder, days=0, now=START + 10.5 * DAY) == 11
    with opened(folder, days, **LINEAR) as shop:
        assert shop.drop(days=22.5).num_decisions == 7
        assert len(list((folder / "segments").iterdir())) == 1
        assert shop.drop(days=12.5).num_decisions == 10
        assert list((folder / "segments").iterdir()) == []
        assert shop.compact(days=9.5) == 3
        learned = state(shop)
        assert shop.audit()
    export_ledger(folder, tmp_path / "x.jsonl")
    import_ledger(tmp_path / "x.jsonl", tmp_path / "again")
    Sqlite().copy(folder, tmp_path / "backup")
    for place in (folder, tmp_path / "again", tmp_path / "backup"):
        with opened(place, days, **LINEAR) as shop:
            assert state(shop) == learned
            assert shop.audit()
        assert wrong(place) == []


def test_a_feedback_drops_what_is_settled_and_late_signals_expire(tmp_path):
    days = Days()
    feedback = Feedback(window=2 * DAY, signals={"click": 1}, late=0.5)
    with opened(tmp_path, days, feedback=feedback, **LINEAR) as shop:
        slates = []
        for number in range(12):
            days.now = START + number * DAY
            slates.append(shop.recommend(request(number), size=2, decision_id=f"d{number}"))
            shop.signal("click", decision_id=f"d{number}", item=slates[-1].ids[0], signal_id=f"click-{number}")
        assert shop.drop(days=0).num_decisions == 9  # the windows of the last three are open
        learned = state(shop)
        for told in ({"decision_id": "d3", "item": slates[3].ids[0]}, {"decision_id": "d3", "position": 7}):
            assert shop.signal("click", **told) == Receipt.EXPIRED
        assert {shop.correct("click-3", 0.5), shop.not_shown("d3")} == {Receipt.EXPIRED}
        assert state(shop) == learned
        days.now += 10 * DAY
        shop.settle()
        assert shop.audit()
        shop.drop(days=0)
        assert left(tmp_path) == []
        assert shop.audit()
    assert wrong(tmp_path) == []


def test_a_slate_that_was_served_again_expires_with_the_one_that_drew_it(tmp_path):
    days = Days()
    with opened(tmp_path, days, traffic=recsdk.Traffic(sticky=DAY), **LINEAR) as shop:
        shop.recommend(request(1), decision_id="drawn")
        days.now += 0.5 * DAY
        shop.recommend(request(1), decision_id="again")
        days.now += DAY
        assert shop.drop(days=1.2).num_decisions == 1
        with pytest.raises(ExpiredDecision, match="'again' was dropped"):
            shop.reward("again", 1.0)
        assert shop.shown("again") == Receipt.EXPIRED
        assert shop.recommend(request(1), decision_id="new").ids
        assert shop.audit()


def test_a_correction_that_comes_while_the_base_is_made_is_in_it(tmp_path, monkeypatch):
    days = Days()
    shop = opened(tmp_path, days, policy="wide-deep")
    for number in range(12):
        days.now = START + number * DAY
        visit(shop, number)
    shop.reward("d2", 1.0, position=1)  # so that it stays
    made, planned = [], dropping._planned

    def meanwhile(*arguments):
        found = planned(*arguments)
        if not made:
            made.append(shop.correct("d2/0", 0.25))
        return found

    monkeypatch.setattr(dropping, "_planned", meanwhile)
    assert shop.drop(days=4.5).num_decisions == 6
    assert made == [Receipt.TAKEN]
    assert shop.audit()
    shop.close()


def test_a_reward_that_comes_while_others_are_dropped_keeps_its_decision(tmp_path, monkeypatch):
    days = Days()
    monkeypatch.setattr(dropping, "NUM_ROWS", 2)
    with lived(tmp_path, days, range(12), **LINEAR) as shop:
        emptied = dropping._emptied

        def meanwhile(loop, plan, ids):
            if "d4" in ids:
                loop.turns.alone(lambda: shop.reward("d4", 1.0, position=1))
            return emptied(loop, plan, ids)

        monkeypatch.setattr(dropping, "_emptied", meanwhile)
        assert shop.drop(days=4.5).num_decisions == 6
        assert left(tmp_path)[0] == 4
        assert shop.audit()
        monkeypatch.undo()
        days.now += 100 * DAY
        shop.drop(days=50)
        assert left(tmp_path) == []


def test_without_its_base_a_folder_is_refused_and_not_learned_anew(tmp_path):
    days = Days()
    with lived(tmp_path, days, range(20), **LINEAR) as shop:
        shop.drop(days=9.5)
    forget_snapshots(tmp_path)
    assert wrong(tmp_path) == []
    alter(tmp_path, "DELETE FROM blobs WHERE name = 'base/policy'")
    assert [finding.check for finding in wrong(tmp_path)] == ["snapshot"]
    with pytest.raises(LedgerCorrupt, match="cannot be read"):
        opened(tmp_path, days, **LINEAR)
    alter(tmp_path, "DELETE FROM blobs WHERE name LIKE 'base/%'")
    assert [finding.check for finding in wrong(tmp_path)] == ["snapshot"]
    with pytest.raises(LedgerCorrupt, match="lacks what was learned of the rewards that were dropped"):
        opened(tmp_path, days, **LINEAR)


def test_what_cannot_be_dropped_is_refused(tmp_path):
    days = Days()
    with lived(tmp_path / "memory", days, range(2), ledger=Memory(), **LINEAR) as shop, pytest.raises(InvalidValue, match="`redact`"):
        shop.drop(days=0)
    with lived(tmp_path / "shop", days, range(2), **LINEAR) as shop, pytest.raises(InvalidValue, match="days must be"):
        shop.drop(days=-1)


def test_a_failure_in_the_middle_leaves_everything_as_it_was(tmp_path, monkeypatch):
    days = Days()
    shop = lived(tmp_path, days, range(20), **LINEAR)
    learned = state(shop)

    def failing(self):
        raise MemoryError

    monkeypatch.setattr(learning.Learner, "keep", failing)
    with pytest.raises(MemoryError):
        shop.drop(days=9.5)
    monkeypatch.undo()
    assert state(shop) == learned
    assert left(tmp_path) == list(range(20))
    assert shop.audit()
    assert shop.drop(days=9.5).num_decisions == 9
    shop.close()


KILLED = """
import os, signal, sys
from itertools import count
from pathlib import Path
from recsdk.ledger.sqlite import SqliteLedger
from recsdk.live import dropping
from tests.live.test_dropping import Days, PARTS, START, opened
from recsdk.live.keeping import DAY
dropping.NUM_ROWS = 4
days = Days()
days.now = START + 19 * DAY
shop = opened(Path(sys.argv[1]), days, **PARTS[sys.argv[2]])
calls, last, write = count(), int(sys.argv[3]), SqliteLedger._write
def dying(self, statement, *values):
    write(self, statement, *values)
    if next(calls) == last:
        os.kill(os.getpid(), signal.SIGKILL)
SqliteLedger._write = dying
SqliteLedger.scrub = lambda self: os.kill(os.getpid(), signal.SIGKILL)  # when all is written, at the latest
shop.drop(days=9.5)
"""


def check_killed(tmp_path, name, last):
    """Kills a drop after its `last`-th write, and looks at what is left."""
    days, parts = Days(), PARTS[name]
    shop = lived(tmp_path, days, range(20), **parts)
    learned = state(shop)
    crash(shop)
    command = [sys.executable, "-c", KILLED, str(tmp_path), name, str(last)]
    assert subprocess.run(command, check=False).returncode == -9  # noqa: S603 - our own code
    assert len(left(tmp_path)) in (20, 16, 12, 11)
    with opened(tmp_path, days, **parts) as again:
        assert state(again) == learned
        assert again.audit()
        again.drop(days=9.5)
        assert left(tmp_path) == [7, *range(10, 20)]  # of d7 something was told on the tenth day
        assert again.audit()
    assert wrong(tmp_path) == []


@pytest.mark.parametrize(("name", "last"), [("online", 3), ("linear", 12), ("linear", 40), ("linear", 10**6)])
def test_killed_at_a_write_a_part_is_dropped_or_not_and_the_next_drop_goes_on(tmp_path, name, last):
    check_killed(tmp_path, name, last)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("last", range(46))
def test_killed_at_any_write_a_part_is_dropped_or_not_and_the_next_drop_goes_on(tmp_path, last):
    check_killed(tmp_path, "linear", last)
