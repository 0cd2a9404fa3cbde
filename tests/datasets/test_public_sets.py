"""MovieLens, PMLB and Jester: from small files made here, and from the real ones where they are."""

import gzip

import numpy as np
import pytest

from recsdk import datasets
from recsdk.errors import EmptyLog, InvalidLog, InvalidValue, UnknownItem
from tests.shared import shared

FILMS = (
    'item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n7\t"Quoted" Film, The\t1995\tDrama Sci-Fi\n8\tOther\t\t\n'
)
USERS = "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n3\t24\tM\twriter\t02139\n"
RATINGS = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n3\t8\t4\t200\n3\t7\t5\t100\n"


def movielens(folder, ratings=RATINGS):
    for name, text in (("item", FILMS), ("user", USERS), ("inter", ratings)):
        (folder / f"ml-100k.{name}").write_text(text)
    return datasets.read_movielens(folder)


def test_ratings_become_events_oldest_first(tmp_path):
    items, events = movielens(tmp_path)
    assert items.ids.tolist() == ["7", "8"]
    assert items.features["title"].tolist() == ['"Quoted" Film, The', "Other"]
    assert items.features["genres"].tolist() == [["Drama", "Sci-Fi"], []]
    assert items.features["year"][0] == 1995.0
    assert np.isnan(items.features["year"][1])
    assert (events.item.tolist(), events.reward.tolist(), events.time.tolist()) == ([0, 1], [5.0, 4.0], [100.0, 200.0])
    assert events.requests["zip_code"].tolist() == ["02139", "02139"]
    assert events.requests["age"].tolist() == [24.0, 24.0]


def test_a_rating_of_nothing_known_is_refused(tmp_path):
    with pytest.raises(UnknownItem, match="got '9'"):
        movielens(tmp_path, RATINGS + "3\t9\t1\t300\n")
    with pytest.raises(InvalidLog, match=r"line 4: user_id must be one of ml-100k.user, got '4'"):
        movielens(tmp_path, RATINGS + "4\t7\t1\t300\n")
    with pytest.raises(InvalidLog, match="line 4: rating must be a finite number, got 'good'"):
        movielens(tmp_path, RATINGS + "3\t7\tgood\t300\n")


def test_movielens_100k_has_its_published_counts():
    items, events = datasets.read_movielens(shared("data/ml-100k"))
    assert (len(items.ids), len(events.item), len(set(events.requests["user_id"]))) == (1682, 100_000, 943)
    assert np.bincount(events.reward.astype(int)).tolist() == [0, 6110, 11370, 27145, 34174, 21201]
    assert (np.diff(events.time) >= 0).all()


def test_labels_are_numbered_from_zero(tmp_path):
    path = tmp_path / "set.tsv.gz"
    path.write_bytes(gzip.compress(b"x\ttarget\ty\n1\t5\t2\n3\t-1\t4\n5\t5\t6\n"))
    features, label = datasets.read_pmlb(path)
    assert features.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert label.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("x\ty\n1\t2\n", InvalidLog, "must have a column 'target'"),
        ("x\ttarget\n1\ttwo\n", InvalidLog, "must hold 2 numbers a line"),
        ("x\ttarget\n1\t2\n1\n", InvalidLog, "line 3: must hold 2 finite numbers a line"),
        ("x\ttarget\n1\tnan\n", InvalidLog, "must hold 2 finite numbers a line"),
        ("x\ttarget\n1\t2\t3\n", InvalidLog, "must hold 2 finite numbers a line"),
        ("x\ttarget\n", EmptyLog, "at least one row"),
    ],
)
def test_a_table_that_is_not_numbers_with_labels_is_refused(tmp_path, text, error, message):
    (tmp_path / "set.tsv").write_text(text)
    with pytest.raises(error, match=message):
        datasets.read_pmlb(tmp_path / "set.tsv")


@pytest.mark.parametrize(("name", "shape", "labels"), [("vowel", (990, 13), 11), ("pendigits", (10_992, 16), 10)])
def test_pmlb_sets_have_their_published_counts(name, shape, labels):
    features, label = datasets.read_pmlb(shared(f"data/pmlb/{name}.tsv.gz"))
    assert (features.shape, len(label)) == (shape, shape[0])
    assert np.unique(label).tolist() == list(range(labels))


def test_users_who_rated_all_of_the_most_rated_jokes_are_kept(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text("user,joke,rating\n0,0,1.5\n0,1,-2\n1,1,3\n2,2,9\n2,1,4\n2,0,5\n")
    assert datasets.read_jester(path, num_jokes=2).tolist() == [[1.5, -2.0], [5.0, 4.0]]
    assert datasets.read_jester(path, num_jokes=1).tolist() == [[-2.0], [3.0], [4.0]]
    assert datasets.read_jester(path, num_jokes=3).tolist() == [[5.0, 4.0, 9.0]]
    with pytest.raises(InvalidValue, match=r"num_jokes must be in \[1, 3\], got 4"):
        datasets.read_jester(path, num_jokes=4)
    path.write_text("user,joke,rating\n0,0,funny\n")
    with pytest.raises(InvalidLog, match="must hold lines of user, joke, rating"):
        datasets.read_jester(path)


def test_jester_has_its_published_counts():
    ratings = datasets.read_jester(shared("data/jester/ratings.csv.gz"))
    assert ratings.shape == (19_181, 40)
    assert np.abs(ratings).max() <= 10
