import gzip
from importlib import resources

import numpy as np
import pytest

from recsdk import datasets
from recsdk.checks import check_log
from recsdk.errors import InvalidLog, InvalidPropensity, InvalidValue
from tests.shared import shared

LOG = """,timestamp,item_id,position,click,propensity_score,user_feature_0,user_feature_1,user_feature_2,user_feature_3,\
user-item_affinity_0,user-item_affinity_1
0,2019-11-24,1,2,0,0.25,a,b,c,d,0.0,3.0
1,2019-11-25,0,1,1,0.5,a,b,c,e,0.0,0.0
"""
ITEMS = """,item_id,item_feature_0,item_feature_1,item_feature_2,item_feature_3
1,1,0.5,x,y,z
0,0,-1.5,x,v,w
"""


def write(folder, log=LOG, items=ITEMS):
    (folder / "log.csv").write_text(log)
    (folder / "items.csv").write_text(items)
    return folder / "log.csv", folder / "items.csv"


def test_a_row_becomes_an_interaction(tmp_path):
    log, position = datasets.read_open_bandit(*write(tmp_path), num_hashed=0)
    check_log(log)
    assert log.action.tolist() == [1, 0]
    assert log.reward.tolist() == [0, 1]
    assert log.propensity.tolist() == [0.25, 0.5]
    assert position.tolist() == [1, 0]
    # 1, position is 1, position is 2, the item's number, affinity; items in the order of their numbers
    assert log.context.features.tolist() == [
        [[1, 1, 0, -1.5, 0], [1, 1, 0, 0.5, 3]],
        [[1, 0, 0, -1.5, 0], [1, 0, 0, 0.5, 0]],
    ]


def test_a_gzipped_file_reads_as_the_plain_one(tmp_path):
    log, items = write(tmp_path)
    zipped = tmp_path / "log.csv.gz"
    zipped.write_bytes(gzip.compress(LOG.encode()))
    assert_same(datasets.read_open_bandit(zipped, items), datasets.read_open_bandit(log, items))


def test_hashed_columns_depend_on_the_pair_of_round_and_item_and_on_nothing_else(tmp_path):
    log, items = write(tmp_path)
    hashed = datasets.read_open_bandit(log, items, num_hashed=64).log.context.features[:, :, 5:]
    alone = datasets.read_open_bandit(*write(tmp_path, log=LOG[: LOG.rindex("1,2019")]), num_hashed=64).log.context.features[:, :, 5:]
    assert np.array_equal(hashed[:1], alone)
    assert not np.array_equal(hashed[0, 0], hashed[0, 1])
    assert not np.array_equal(hashed[0, 0], hashed[1, 0])
    assert 0.5 < np.linalg.norm(hashed, axis=2).mean() < 1.5


def test_only_the_first_rows_are_read_if_so_asked(tmp_path):
    log, _ = datasets.read_open_bandit(*write(tmp_path), num_rows=1)
    assert log.action.tolist() == [1]


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        (",0.25,", ",1.25,", InvalidPropensity, r"line 2: propensity_score must be in \(0, 1\], got 1.25"),
        (",0.25,", ",0,", InvalidPropensity, r"line 2: propensity_score must be in \(0, 1\], got 0"),
        (",0.25,", ",nan,", InvalidLog, "line 2: propensity_score must be a finite number, got 'nan'"),
        ("25,0,1,1,", "25,2,1,1,", InvalidLog, "line 3: item_id must be one of the 2 ids in the table of items, got 2"),
        ("25,0,1,1,", "25,0.5,1,1,", InvalidLog, r"line 3: item_id must be one of the 2 ids in the table of items, got 0\.5"),
        ("25,0,1,1,", "25,0,4,1,", InvalidLog, "line 3: position must be 1, 2 or 3, got 4"),
        ("25,0,1,1,", "25,0,1,2,", InvalidLog, "line 3: click must be 0 or 1, got 2"),
        ("25,0,1,1,", "25,0,1,", InvalidLog, "line 3: must have 12 cells like the header, got 11"),
        ("click", "clicks", InvalidLog, r"\['click'\] are missing"),
        ("affinity_1", "affinity_9", InvalidLog, r"\['user-item_affinity_1'\] are missing"),
        (",3.0", ",many", InvalidLog, "line 2: user-item_affinity_1 must be a finite number, got 'many'"),
    ],
)
def test_a_bad_line_is_refused_by_its_number(tmp_path, old, new, error, message):
    with pytest.raises(error, match=message):
        datasets.read_open_bandit(*write(tmp_path, log=LOG.replace(old, new)))


def test_settings_out_of_range_are_refused(tmp_path):
    with pytest.raises(InvalidValue, match="num_hashed"):
        datasets.read_open_bandit(*write(tmp_path), num_hashed=-1)
    with pytest.raises(InvalidValue, match="num_rows"):
        datasets.read_open_bandit(*write(tmp_path), num_rows=0)
    with pytest.raises(InvalidValue, match="policy must be one of"):
        datasets.load_open_bandit("uniform")


def test_items_are_found_by_their_ids_and_not_by_their_places(tmp_path):
    log, _ = datasets.read_open_bandit(*write(tmp_path), num_hashed=8)
    gaps = {"0": "3", "1": "7"}
    text = LOG.replace("affinity_0", "affinity_3").replace("affinity_1", "affinity_7").replace("24,1,", "24,7,").replace("25,0,", "25,3,")
    items = ITEMS.replace("1,1,0.5", f"1,{gaps['1']},0.5").replace("0,0,-1.5", f"0,{gaps['0']},-1.5")
    renamed, _ = datasets.read_open_bandit(*write(tmp_path, text, items), num_hashed=0)
    assert renamed.context.item.tolist() == [[3, 7], [3, 7]]
    assert (renamed.action.tolist(), renamed.reward.tolist()) == (log.action.tolist(), log.reward.tolist())
    assert np.array_equal(renamed.context.features, log.context.features[:, :, :5])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0,0,-1.5", "0,1,-1.5", "line 3: item_id must be there once, got 1, which line 2 has"),
        ("0,0,-1.5", "0,0.5,-1.5", "line 3: item_id must be a whole number >= 0, got '0.5'"),
        ("0,0,-1.5", "0,-1,-1.5", "line 3: item_id must be a whole number >= 0, got '-1'"),
        ("0,0,-1.5", "0,3,-1.5", r"\['user-item_affinity_3'\] are missing"),
    ],
)
def test_a_bad_table_of_items_is_refused_by_its_line(tmp_path, old, new, message):
    with pytest.raises(InvalidLog, match=message):
        datasets.read_open_bandit(*write(tmp_path, items=ITEMS.replace(old, new)))


def test_a_rounding_error_of_a_propensity_is_corrected(tmp_path):
    log, _ = datasets.read_open_bandit(*write(tmp_path, LOG.replace(",0.25,", ",1.0000001,")))
    assert log.propensity.tolist() == [1.0, 0.5]


def test_how_a_category_is_anonymised_does_not_change_the_features(tmp_path):
    log, _ = datasets.read_open_bandit(*write(tmp_path))
    renamed = ITEMS.replace("x,", "q,").replace(",z", ",r").replace(",v,w", ",s,t")
    other, _ = datasets.read_open_bandit(*write(tmp_path, items=renamed))
    assert np.array_equal(log.context.features, other.context.features)


def test_what_is_learnt_on_one_shipped_log_holds_on_the_other():
    logs = [datasets.load_open_bandit(policy) for policy in ("random", "bts")]
    users = [np.column_stack([found.position, found.log.context.features[:, :, 5:].sum(1).round(9)]) for found in logs]
    rows = [np.flatnonzero((found.position == 0) & (found.log.context.features[:, :, 4].sum(1) == 0)) for found in logs]
    known = {tuple(users[0][row]): row for row in rows[0]}
    pairs = [(known[tuple(users[1][row])], row) for row in rows[1] if tuple(users[1][row]) in known]
    assert len(pairs) > len(rows[1]) / 2
    for one, other in pairs[::100]:
        assert np.array_equal(logs[0].log.context.features[one], logs[1].log.context.features[other])


@pytest.mark.parametrize(("policy", "clicks"), [("random", 38), ("bts", 42)])
def test_the_shipped_log_is_the_published_one(policy, clicks):
    folder = shared("data/open-bandit-sample")
    shipped = datasets.load_open_bandit(policy, num_hashed=4)
    published = datasets.read_open_bandit(folder / f"{policy}_all_log.csv.gz", folder / f"{policy}_all_item_context.csv.gz", num_hashed=4)
    assert_same(shipped, published)
    assert shipped.log.reward.sum() == clicks


def test_the_shipped_target_is_the_frozen_one():
    frozen = np.loadtxt(shared("reference/obd_small/target_all_bts.csv"), delimiter=",")
    assert np.array_equal(datasets.bernoulli_ts_probs(np.array([0, 2, 1])), frozen.T[[0, 2, 1]])


def test_the_shipped_data_is_small_and_says_whose_it_is():
    folder = resources.files("recsdk.datasets") / "_data"
    assert len((folder / "open_bandit.npz").read_bytes()) < 300_000
    attribution = (folder / "ATTRIBUTION.md").read_text()
    for words in ("ZOZO, Inc.", "CC BY 4.0", "arXiv:2008.07146", "Changes made"):
        assert words in attribution


def assert_same(one, other):
    (context, *columns), position = one
    (others_context, *others_columns), others_position = other
    for mine, theirs in zip((*context, *columns, position), (*others_context, *others_columns, others_position), strict=True):
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)
