"""The ledger as a log."""

import numpy as np
import pytest

import recsdk
from recsdk import arrays, ope
from recsdk.checks import check_log
from recsdk.errors import EmptyLog, InvalidValue, LedgerCorrupt, LedgerError, LedgerMismatch, OpenDecisions
from recsdk.live.log import count_decisions, read_ledger, read_ledger_chunks, read_policy
from tests.live.shop import alter, crash, open_recommender, request, serve, small_recommender


@pytest.fixture
def shop(tmp_path):
    with open_recommender(tmp_path / "shop", log_features="all") as recommender:
        yield recommender


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "shop"


def mixed(shop):
    """Serves slates of several sizes from several numbers of candidates; some without a reward, at the top or below."""
    for number in range(12):
        candidates = None if number % 3 else ["news-0", "sport-0", "music-0"]
        slate = shop.recommend(request(number), size=1 + number % 3, candidates=candidates, decision_id=f"d{number}")
        if number % 4:
            shop.reward(f"d{number}", number / 10, item=slate.ids[0])
        if number % 3 and number % 2:
            shop.reward(f"d{number}", -number / 10, item=slate.ids[1])


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("default_reward", [None, -3])
def test_every_row_is_what_was_decided_and_earned(shop, folder, position, default_reward):
    mixed(shop)
    shop.recommend({}, size=3, decision_id="last")
    shop.reward("last", 7.0, item=shop.recommend({}, size=3, decision_id="last").ids[2])
    log = read_ledger(folder, position=position, default_reward=default_reward, window=0)
    check_log(log)
    records = [record for record in shop._loop.ledger.decisions() if len(record.action) > position]
    rewards = {record.decision_id: {r.position: r.value for r in shop._loop.ledger.rewards_of(record.decision_id)} for record in records}
    if default_reward is None:
        records = [record for record in records if position in rewards[record.decision_id]]
    assert len(log.reward) == len(records) > 0
    for row, record in enumerate(records):
        places, action = len(record.slots), record.action[position]
        left = ~np.isin(np.arange(places), record.action[:position])
        np.testing.assert_array_equal(log.context.mask[row, :places], left)
        assert not log.context.mask[row, places:].any()
        np.testing.assert_array_equal(log.context.features[row, :places], record.features)
        np.testing.assert_array_equal(log.context.item[row, :places], record.slots)
        assert log.action[row] == action
        assert log.propensity[row] == record.probs[position, action]
        assert log.reward[row] == rewards[record.decision_id].get(position, default_reward)
        assert log.weight[row] == 1
        np.testing.assert_allclose(record.probs[position][left].sum(), 1, atol=1e-12)


def test_an_open_recommender_is_read_as_it_is_at_that_moment(shop, folder):
    serve(shop, range(3), size=1)
    assert len(read_ledger(folder).reward) == 3
    serve(shop, range(3, 5), size=1)
    assert len(read_ledger(folder).reward) == 5
    crash(shop)
    assert len(read_ledger(str(folder)).reward) == 5


def test_reading_changes_nothing(shop, folder):
    serve(shop, range(3))
    shop.close()
    before = (folder / "ledger.sqlite").read_bytes()
    read_ledger(folder)
    assert (folder / "ledger.sqlite").read_bytes() == before


def test_features_of_the_shown_only_are_no_log_for_other_policies(tmp_path):
    with open_recommender(tmp_path) as shop:
        serve(shop, range(3))
        with pytest.raises(LedgerMismatch, match=r"'d0' has kept the features of its shown .* log_features='all'"):
            read_ledger(tmp_path)


def test_a_ledger_without_rows_says_what_is_missing(shop, folder):
    with pytest.raises(EmptyLog, match="no rewarded decision with a position 0"):
        read_ledger(folder)
    shop.recommend({})
    with pytest.raises(EmptyLog, match="no rewarded decision"):
        read_ledger(folder)
    assert read_ledger(folder, default_reward=0.0, window=0).reward.tolist() == [0.0]
    with pytest.raises(EmptyLog, match="no decision with a position 1"):
        read_ledger(folder, position=1, default_reward=0.0, window=0)


def test_a_ledger_whose_windows_are_open_says_when_they_close(tmp_path):
    feedback = recsdk.Feedback(window=3600)
    with small_recommender(
        tmp_path, log_features="all", feedback=feedback, clock=iter(range(1_700_000_000, 1_700_000_100)).__next__
    ) as shop:
        for _ in range(3):
            shop.recommend({})
        with pytest.raises(EmptyLog, match=r"3 decisions wait .* close from 2023-11-14 23:13:\d\d\+00:00 to 2023-11-14 23:13:\d\d\+00:00"):
            read_ledger(tmp_path)


def test_a_ledger_without_rewards_says_how_to_count_silence(shop, folder):
    shop.recommend({})
    with pytest.raises(EmptyLog, match=r"give default_reward and window \(--default-reward, --window\)"):
        read_ledger(folder)
    with pytest.raises(EmptyLog, match="younger than window=60 seconds"):
        read_ledger(folder, default_reward=0.0, window=60)


def test_what_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(LedgerError, match="There is no ledger"):
        read_ledger(tmp_path)
    assert list(tmp_path.iterdir()) == []
    small_recommender(tmp_path / "shop", log_features="all").close()
    for bad in (-1, 0.5, "0", True):
        with pytest.raises(InvalidValue, match="position must be"):
            read_ledger(tmp_path / "shop", position=bad)
    with pytest.raises(InvalidValue, match="default_reward must be"):
        read_ledger(tmp_path / "shop", default_reward=float("nan"))
    (tmp_path / "ledger.sqlite").write_text("not a database, but long enough to be read as one" * 100)
    with pytest.raises(LedgerCorrupt, match="not a database"):
        read_ledger(tmp_path)


def test_an_empty_file_where_the_ledger_should_be_is_no_ledger(tmp_path):
    (tmp_path / "ledger.sqlite").touch()
    with pytest.raises(LedgerError, match="is empty"):
        read_ledger(tmp_path)


def test_a_changed_propensity_is_noticed(shop, folder):
    serve(shop, range(3))
    shop.close()
    alter(folder, "UPDATE decisions SET probs = zeroblob(LENGTH(probs)) WHERE id = 'd1'")
    with pytest.raises(LedgerCorrupt, match="Decision 'd1'"):
        read_ledger(folder)


def test_decisions_without_a_reward_are_counted_too(shop, folder):
    mixed(shop)
    assert [count_decisions(folder, position=position) for position in range(4)] == [12, 8, 4, 0]
    assert len(read_ledger(folder).action) < 12


@pytest.mark.parametrize("floor", [0.0, 0.05])
def test_what_the_policy_has_learned_is_read_to_the_last_bit_from_an_open_and_a_closed_folder(tmp_path, floor):
    folder = tmp_path / "shop"
    with open_recommender(folder, policy=recsdk.LinUCB(), floor=floor, log_features="all") as shop:
        serve(shop, range(5))
        shop.snapshot()
        serve(shop, range(5, 12))
        live = [np.array(leaf) for leaf in arrays.leaves(shop._loop.learner.state)]
        opened = read_policy(folder, recsdk.LinUCB(), floor=floor)
        assert opened.policy == shop.policy
    closed = read_policy(folder, recsdk.LinUCB(), floor=floor)
    for read in (opened, closed):
        assert all(np.array_equal(a, b) for a, b in zip(arrays.leaves(read.state), live, strict=True))
    found = ope.evaluate(read_ledger(folder), closed.policy, state=closed.state, estimators=("ips",), force=True, engine="numpy")
    assert np.isfinite(found.estimates["ips"].value)


def test_a_policy_without_a_snapshot_is_refused(shop, folder):
    serve(shop, range(3))
    with pytest.raises(LedgerMismatch, match=r"must hold a snapshot of .*LinUCB.*: there is none.* and call `snapshot`"):
        read_policy(folder, recsdk.LinUCB())
    shop.snapshot()
    with pytest.raises(LedgerMismatch, match="must hold a snapshot of WithFloor"):
        read_policy(folder, recsdk.LinUCB(alpha=17.0))


@pytest.mark.parametrize("default_reward", [None, -3])
def test_chunks_are_the_log_cut_up(shop, folder, default_reward):
    mixed(shop)
    log = read_ledger(folder, default_reward=default_reward, window=0)
    for num_rows in (1, 4, 100):
        chunks = list(read_ledger_chunks(folder, default_reward=default_reward, window=0, num_rows=num_rows))
        assert max(len(chunk.action) for chunk in chunks) == min(num_rows, len(log.action))
        for field in range(1, 5):
            assert np.array_equal(np.concatenate([chunk[field] for chunk in chunks]), log[field])
        start = 0
        for chunk in chunks:
            size, places = chunk.context.mask.shape
            for part, whole in zip(chunk.context, log.context, strict=True):
                assert np.array_equal(part, whole[start : start + size, :places])
            start += size


def test_an_empty_ledger_has_no_chunks(shop, folder):
    with pytest.raises(EmptyLog, match="no rewarded decision"):
        next(read_ledger_chunks(folder))
    with pytest.raises(InvalidValue, match="num_rows must be a whole number >= 1"):
        next(read_ledger_chunks(folder, num_rows=0))


@pytest.mark.parametrize("folder", [None, "", 5, b"shop"])
@pytest.mark.parametrize("read", [read_ledger, read_policy, count_decisions])
def test_what_is_no_path_is_refused(read, folder):
    with pytest.raises(InvalidValue, match="folder must be a path that is not empty, got"):
        read(folder)


class Ticking:
    """A clock that is set by hand."""

    now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def delayed(tmp_path):
    """Returns a folder of 100 visits, ten seconds apart, each of which earns 1 after 300 seconds: the last 30 are on their way."""
    clock = Ticking()
    with small_recommender(tmp_path / "delayed", clock=clock, log_features="all") as recommender:
        for number in range(100):
            clock.now += 10
            recommender.recommend({}, decision_id=f"d{number}")
            if number >= 30:
                recommender.reward(f"d{number - 30}", 1.0)
    return tmp_path / "delayed"


def test_a_window_leaves_out_the_decisions_whose_rewards_are_on_their_way(delayed):
    assert read_ledger(delayed, default_reward=0.0, window=300).reward.tolist() == [1.0] * 70
    assert read_ledger(delayed, default_reward=0.0, window=290).reward.tolist() == [1.0] * 70 + [0.0]
    assert read_ledger(delayed, default_reward=0.0, window=0).reward.tolist() == [1.0] * 70 + [0.0] * 30
    assert read_ledger(delayed, window=500).reward.tolist() == [1.0] * 50
    assert [len(chunk.reward) for chunk in read_ledger_chunks(delayed, default_reward=0.0, window=300, num_rows=40)] == [40, 30]
    assert [count_decisions(delayed, window=seconds) for seconds in (None, 300)] == [100, 70]


def test_a_default_reward_without_a_window_is_said(delayed):
    with pytest.warns(OpenDecisions, match=r"default_reward=0.0 counts every reward that is still on its way as missing") as caught:
        assert read_ledger(delayed, default_reward=0.0).reward.mean() == 0.7
    assert caught[0].filename == __file__
    with pytest.warns(OpenDecisions) as caught:
        assert len(list(read_ledger_chunks(delayed, default_reward=0.0))) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize("window", [-1, float("nan"), "1"])
def test_a_window_that_is_no_span_of_time_is_refused(delayed, window):
    with pytest.raises(InvalidValue, match="window must be"):
        read_ledger(delayed, default_reward=0.0, window=window)


def test_a_folder_with_a_feedback_has_its_own_window(tmp_path):
    small_recommender(tmp_path, feedback=recsdk.Feedback(window=60)).close()
    with pytest.raises(InvalidValue, match="window must be None for a folder with a feedback"):
        read_ledger(tmp_path, window=60)
