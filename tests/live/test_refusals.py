"""What the live loop refuses: with a typed error that names the field, and without a trace in the ledger or the state."""

from typing import ClassVar

import attrs
import numpy as np
import pytest

import recsdk
from recsdk import errors
from recsdk.live.recommender import Recommender
from tests.live.shop import (
    CATALOGUE,
    Clock,
    Hashing,
    TopicTally,
    catalogue,
    open_recommender,
    request,
    serve,
    small_recommender,
    state,
    tables,
)
from tests.names import name

NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    with open_recommender(tmp_path_factory.mktemp("shop")) as recommender:
        serve(recommender, range(5))
        recommender.remove_items(["music-3"])
        yield recommender


def assert_refused(shop, call, error, match):
    def all_there_is():
        return tables(folder_of(shop)), state(shop), catalogue(shop)

    before = all_there_is()
    with pytest.raises(error, match=match) as caught:
        call(shop)
    assert isinstance(caught.value, errors.RecsdkError)
    assert all_there_is() == before


def folder_of(shop):
    (path,) = (path for _, name, path in shop._loop.ledger._db.execute("PRAGMA database_list") if name == "main")
    return path.removesuffix("ledger.sqlite")


NO_NUMBERS = [NAN, INF, -INF, "1", True, None, np.True_, 1j, [1.0], np.array(1.0)]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_a_reward_that_is_no_finite_number(shop, value):
    ids = shop.recommend(request(0), size=2, decision_id="d0").ids
    assert_refused(shop, lambda shop: shop.reward("d0", value, item=ids[1]), errors.InvalidReward, "reward must be")
    assert_refused(shop, lambda shop: shop.reward_slate("d0", {ids[1]: value}), errors.InvalidReward, "reward must be")
    assert_refused(
        shop, lambda shop: shop.reward_slate("d0", dict.fromkeys(ids, 1.0), others=value), errors.InvalidReward, "reward must be"
    )


def test_a_reward_beyond_float64(shop):
    assert_refused(shop, lambda shop: shop.reward("d0", 10**400), errors.InvalidReward, "reward must be")


@pytest.mark.parametrize("values", [None, 1.0, ["news-0"], "news-0"], ids=repr)
def test_slate_rewards_that_are_no_mapping(shop, values):
    assert_refused(shop, lambda shop: shop.reward_slate("d0", values), errors.InvalidReward, "values must be a mapping")


@pytest.mark.parametrize("name", ["", "nobody", None, 3, b"d0", "x" * 10_000, "\ud800", "d0\0", ("d0",)], ids=lambda name: repr(name)[:20])
def test_a_decision_that_is_not_there(shop, name):
    assert_refused(shop, lambda shop: shop.reward(name, 1.0), errors.UnknownDecision, "No decision .* is in the ledger")
    assert_refused(shop, lambda shop: shop.reward_slate(name, {}), errors.UnknownDecision, "No decision .* is in the ledger")


@pytest.mark.parametrize("item", [None, "", "nobody", 0, ["news-0"], "sport-9"], ids=repr)
def test_an_item_that_was_not_shown(shop, item):
    assert_refused(
        shop, lambda shop: shop.reward("d1", 1.0, item=item), errors.UnknownItem, "item must be one of .* shown in decision 'd1'"
    )
    if not isinstance(item, list):
        assert_refused(shop, lambda shop: shop.reward_slate("d1", {item: 1.0}), errors.UnknownItem, "item must be one of")


BAD_NAMES = ["", "x" * 129, "😀" * 33, "x" * 10_000, 7, b"d", True, ["d"], "\ud800"]


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: repr(name)[:20])
def test_names_that_are_empty_too_long_or_no_text(shop, name):
    assert_refused(
        shop, lambda shop: shop.recommend({}, decision_id=name), errors.InvalidRequest, "decision_id must be a str of 1 to 128 bytes"
    )
    ids = shop.recommend(request(0), size=2, decision_id="d0").ids
    assert_refused(
        shop,
        lambda shop: shop.reward("d0", 1.0, item=ids[1], reward_id=name),
        errors.InvalidRequest,
        "reward_id must be a str of 1 to 128 bytes",
    )


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"candidates": []}, errors.EmptyCandidates, "candidates must name at least one item"),
        ({"candidates": ["news-0", "sport-0", "news-0"]}, errors.DuplicateCandidates, "candidates .* 'news-0' twice"),
        ({"candidates": ["news-0", "new-1"]}, errors.UnknownItem, "'new-1' .* Did you mean 'news-1'"),
        ({"candidates": ["music-3"]}, errors.UnknownItem, "'music-3'"),
        ({"candidates": "news-0"}, errors.InvalidRequest, "candidates must be"),
        ({"candidates": {"news-0"}}, errors.InvalidRequest, "candidates must be in an order that lasts"),
        ({"candidates": [0, 1]}, errors.InvalidRequest, "candidates must be item ids of type str, got 0"),
        ({"candidates": [["news-0"]]}, errors.InvalidRequest, "candidates must be"),
        ({"candidates": 3}, errors.InvalidRequest, "candidates must be"),
        ({"candidates": ["news-0"] * 10_001}, errors.TooManyCandidates, "candidates must name at most 10000 items, got 10001"),
        ({"candidates": ["news-0"], "seen": ["sport-0"]}, errors.InvalidValue, "seen goes with candidates=None only"),
        ({"seen": "news-0"}, errors.InvalidRequest, "seen must be"),
        ({"seen": None}, errors.InvalidRequest, "seen must be"),
        ({"seen": [1, "a"]}, errors.InvalidRequest, "seen must be"),
        ({"seen": ["\ud800"]}, errors.InvalidRequest, "UTF-8"),
        ({"seen": [row["id"] for row in CATALOGUE]}, errors.EmptyCandidates, "No item of the 11"),
        ({"size": 0}, errors.InvalidValue, "size must be a whole number >= 1, got 0"),
        ({"size": -1}, errors.InvalidValue, "size must be a whole number >= 1, got -1"),
        ({"size": 1.5}, errors.InvalidValue, "size must be a whole number"),
        ({"size": 1.0}, errors.InvalidValue, "size must be a whole number"),
        ({"size": True}, errors.InvalidValue, "size must be a whole number"),
        ({"size": "1"}, errors.InvalidValue, "size must be a whole number"),
        ({"size": None}, errors.InvalidValue, "size must be a whole number"),
        ({"size": 12}, errors.TooFewCandidates, r"size must be in \[1, 11\]"),
        ({"size": 10**400}, errors.TooFewCandidates, r"size must be in \[1, 11\]"),
        ({"size": 2, "candidates": ["news-0"]}, errors.TooFewCandidates, r"size must be in \[1, 1\]"),
        ({"candidates": np.array(1.0)}, errors.InvalidRequest, "candidates must be a sequence of item ids"),
        ({"at_most": "yes"}, errors.InvalidValue, r"at_most must be one of \(False, True\)"),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, dict) else "",
)
def test_candidates_or_a_size_that_cannot_be(shop, options, error, match):
    assert_refused(shop, lambda shop: shop.recommend({}, **options), error, match)


@pytest.mark.parametrize(
    "given",
    [
        *({"age": value} for value in (NAN, INF, 1j, b"3", {"a": 1}, {1}, object(), [1], [None], ["a", 1], ("a", NAN), 2**60, 10**400)),
        *({"age": value} for value in (np.longdouble(1), np.timedelta64(1, "s"), np.datetime64("2020-01-01"))),
        *({"age": value} for value in ("\ud800", ["\ud800"], np.array([1.0]), np.datetime64("2020-01-01"))),
        *({name: 1} for name in (1, None, "", ("a",), "\ud800")),
        *(None, "abc", 3, ["age"], [("age", 3)]),
    ],
    ids=name,
)
def test_a_request_with_what_is_no_feature(shop, given):
    assert_refused(shop, lambda shop: shop.recommend(given), errors.InvalidRequest, ".")


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([{"topic": "news"}], errors.InvalidRequest),
        ([{"id": ""}], errors.InvalidRequest),
        ([{"id": 7}], errors.InvalidRequest),
        ([{"id": "new", "topic": 7}], errors.InvalidRequest),
        ([{"id": "new", "price": "7"}], errors.InvalidRequest),
        ([{"id": "new", "price": NAN}], errors.InvalidRequest),
        ([{"id": "new", "added": "today"}], errors.InvalidRequest),
        ([{"id": "new", "\ud800": 1}], errors.InvalidRequest),
        ([{"id": "new"}, {"id": "news-0"}], errors.DuplicateCandidates),
        ([{"id": "new"}, {"id": "new"}], errors.DuplicateCandidates),
        ([{"id": "new", "added": 1e12}], errors.InvalidRequest),
        ([{"id": "new", "added": 1_200_000}], errors.InvalidRequest),
        (["apple"], errors.InvalidRequest),
        ({"id": "new"}, errors.InvalidRequest),
        (None, errors.InvalidRequest),
    ],
    ids=lambda value: ascii(value)[:40] if isinstance(value, list) else "",
)
def test_items_that_are_none_or_there_already(shop, rows, error):
    assert_refused(shop, lambda shop: shop.add_items(rows), error, ".")


@pytest.mark.parametrize(
    ("ids", "error", "match"),
    [
        (["news-0", "nobody"], errors.UnknownItem, "nobody"),
        (["music-3"], errors.UnknownItem, "music-3"),
        (["news-0", "news-0"], errors.DuplicateCandidates, "news-0"),
        ("news-0", errors.InvalidRequest, "ids must be"),
        (None, errors.InvalidRequest, "ids must be"),
        ([3], errors.InvalidRequest, "ids must be"),
    ],
    ids=repr,
)
def test_items_that_cannot_be_removed(shop, ids, error, match):
    assert_refused(shop, lambda shop: shop.remove_items(ids), error, match)


@attrs.frozen
class Answers:
    """A part of any kind that answers what it is told to."""

    columns: ClassVar[tuple[str, ...]] = ("answers",)
    dim: ClassVar[int] = 3
    runs_on: ClassVar[tuple[str, ...]] = ("numpy",)
    learns_from: ClassVar[str] = "chosen"

    answer: object = attrs.field(repr=False)

    def fit(self, log, *, state=None, seed=0):
        return ()

    def init(self, prior=None):
        return ()

    def score(self, state, request, candidates):
        return self.answer

    def encode_items(self, state, items):
        return self.answer

    encode_requests = encode_items

    def probs(self, state, rng, context):
        return self.answer(context.mask)

    def update(self, state, interaction):
        return state


def rows(value, dtype=np.float32, shape=(12, 1)):
    return np.full(shape, value, dtype)


@pytest.mark.parametrize(
    "answer",
    [
        *(rows(NAN), rows(INF), rows(1, np.float64), rows(1, np.int64), rows(-3.4e38), rows(2e30)),
        *(rows(1, shape=(12,)), rows(1, shape=(11, 1)), rows(1, shape=(12, 2))),
        *(None, 1.0, [[1.0]] * 12, [[1.0], [1.0, 2.0]], "scores", object(), (number for number in range(12))),
    ],
    ids=name,
)
def test_a_scorer_that_answers_garbage(tmp_path, answer):
    with small_recommender(tmp_path, scorers=[Answers(answer)]) as shop:
        assert_refused(shop, lambda shop: shop.recommend({}), errors.InvalidScores, r"Answers\(\) must answer finite float32\[12, 1\]")


@pytest.mark.parametrize("answer", [None, rows(1, shape=(1, 4)), rows(NAN, shape=(1, 3)), rows(1, np.float64, (1, 3)), [[1.0], [2.0, 3.0]]])
def test_an_encoder_that_answers_garbage(tmp_path, answer):
    with small_recommender(tmp_path, encoder=Answers(answer), items=()) as shop:
        assert_refused(
            shop, lambda shop: shop.add_items([{"id": "a"}]), errors.InvalidScores, r"Answers\(\) must answer finite float32\[1, 3\]"
        )
        assert len(shop.catalogue) == 0
    with pytest.raises(errors.InvalidScores, match=r"must answer|must be an array"):
        small_recommender(tmp_path / "new", encoder=Answers(answer))


@pytest.mark.parametrize(
    "answer",
    [
        lambda mask: mask / mask.sum() * 0.9,
        lambda mask: mask / mask.sum() * NAN,
        lambda mask: (mask / mask.sum()).astype(np.float32),
        lambda mask: np.append(mask / mask.sum(), 0.0),
        lambda mask: (mask / mask.sum())[:, None],
        lambda mask: np.where(np.arange(len(mask)) == 0, 2.0, -1 / (len(mask) - 1)),
        lambda mask: [1 / 12] * 12,
        lambda mask: None,
        lambda mask: (1 / 12 for _ in mask),
    ],
    ids=["sum of .9", "nan", "float32", "one too many", "two-dimensional", "negative", "list", "None", "generator"],
)
@pytest.mark.parametrize("floor", [0, 0.05])
def test_a_policy_that_answers_garbage(tmp_path, answer, floor):
    with small_recommender(tmp_path, policy=Answers(answer), floor=floor) as shop:
        assert_refused(
            shop, lambda shop: shop.recommend({}), errors.InvalidProbs, r"probs must be (finite )?(float64\[12\]|an array of NumPy)"
        )


def test_a_policy_that_gives_mass_to_padding(tmp_path):
    policy = Answers(lambda mask: np.full(len(mask), 1 / len(mask)))
    with small_recommender(tmp_path, policy=policy, floor=0) as shop:
        assert_refused(shop, lambda shop: shop.recommend({}, size=6), errors.InvalidProbs, "zero on padding")


@pytest.mark.parametrize(
    "answer", [None, [1], [1, 0] * 6, np.ones((12, 1), bool), np.ones(11, bool), [[True], [True, False]], "yes"], ids=repr
)
def test_a_rule_that_answers_garbage(tmp_path, answer):
    def rule(request, items):
        return answer

    with small_recommender(tmp_path, rules=[rule]) as shop:
        assert_refused(shop, lambda shop: shop.recommend({}), errors.InvalidScores, r"rule .* must answer bool\[12\]")


@pytest.mark.parametrize("now", [NAN, INF, None, "now", True], ids=repr)
def test_a_clock_that_does_not_tell_the_time(tmp_path, now):
    clock = Clock()
    with small_recommender(tmp_path, clock=lambda: clock.now) as shop:
        shop.recommend({}, decision_id="d")
        clock.now = now
        for call in (lambda shop: shop.recommend({}), lambda shop: shop.reward("d", 1.0), lambda shop: shop.add_items([{"id": "x"}])):
            assert_refused(shop, call, errors.InvalidValue, "clock must return finite seconds")


@pytest.mark.parametrize("part", ["scorer", "rule", "policy"])
def test_a_part_that_raises_leaves_nothing_behind_and_its_error_passes(tmp_path, part):
    def fails(*_):
        raise KeyError("mine")

    options = {"scorer": {"scorers": [fails]}, "rule": {"rules": [fails]}, "policy": {"policy": Answers(fails)}}[part]
    with small_recommender(tmp_path, **options) as shop:
        before = tables(tmp_path), state(shop)
        with pytest.raises(KeyError, match="mine"):
            shop.recommend({}, decision_id="d")
        assert (tables(tmp_path), state(shop)) == before


class Nameless:
    """A policy that is no attrs class, and prints its address."""

    runs_on, learns_from = ("numpy",), "chosen"
    init = probs = update = lambda self, *_: None


@attrs.frozen
class Elsewhere(Answers):
    runs_on: ClassVar[tuple[str, ...]] = ("torch",)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"num_candidates": 0}, errors.InvalidValue, "num_candidates must be a whole number >= 1"),
        ({"num_candidates": 10, "num_new": 10}, errors.InvalidValue, "num_new must be below num_candidates = 10"),
        ({"num_new": -1}, errors.InvalidValue, "num_new must be"),
        ({"floor": 1.5}, errors.InvalidValue, "floor must be"),
        ({"floor": NAN}, errors.InvalidValue, "floor must be"),
        ({"snapshot_every": 0}, errors.InvalidValue, "snapshot_every must be"),
        ({"log_features": "some"}, errors.InvalidValue, "log_features must be one of"),
        ({"policy": "lin-tss"}, errors.UnknownPlugin, "Did you mean 'lin-ts'"),
        ({"policy": None}, errors.InvalidValue, "policies must be given by name, as a config or as an object with"),
        ({"policy": recsdk.LinTS}, errors.InvalidValue, r"got the class LinTS: call it, LinTS\(\)"),
        ({"policy": Nameless()}, errors.InvalidValue, "repr is the same in every process"),
        ({"policy": Elsewhere(None)}, errors.InvalidValue, "policy must run on NumPy"),
        ({"scorers": "popularity"}, errors.InvalidValue, "scorers must be a sequence"),
        ({"scorers": [3]}, errors.InvalidValue, "which lacks"),
        ({"scorers": [TopicTally]}, errors.InvalidValue, "got the class TopicTally"),
        ({"scorers": ["popularity", "popularity"]}, errors.InvalidValue, "columns of different names"),
        ({"encoder": Hashing}, errors.InvalidValue, "got the class Hashing"),
        ({"encoder": TopicTally()}, errors.InvalidValue, "which lacks"),
        ({"rules": [1]}, errors.InvalidValue, "rules must be a sequence of functions"),
        ({"rules": len}, errors.InvalidValue, "rules must be a sequence of functions"),
        ({"ledger": "sqlight"}, errors.UnknownPlugin, "Did you mean 'sqlite'"),
        ({"clock": lambda: NAN}, errors.InvalidValue, "clock must"),
        ({"clock": lambda: 1.7e12}, errors.InvalidValue, "clock must return seconds since the epoch, got 17.* as of milliseconds"),
        ({"clock": 5}, errors.InvalidValue, "clock must be a function"),
        ({"items": None}, errors.InvalidRequest, "items must be rows"),
        ({"items": ["apple"]}, errors.InvalidRequest, "items must be rows, .* got 'apple' in row 0"),
        ({"items": {"id": "a"}}, errors.InvalidRequest, "items must be rows"),
        ({"history": [1]}, errors.InvalidLog, "history must be rows, .* got 1 in row 0"),
        ({"history": None}, errors.InvalidLog, "history must be rows"),
        ({"history": [{"item": "news-0", "time": 1.7e12}]}, errors.InvalidLog, "'time' in row 0 must not be in the future"),
        ({"history": [{"item": "news-0", "time": 1, "reward": 2}], "reward_range": (0, 1)}, errors.InvalidReward, r"\[0, 1\]"),
        ({"unknown_items": "drop"}, errors.InvalidValue, r"unknown_items must be one of \('refuse', 'skip'\)"),
        ({"reward_range": (1, 0)}, errors.InvalidValue, "reward_range must be the least and the largest reward"),
        ({"reward_range": 1}, errors.InvalidValue, "reward_range must be the least and the largest reward"),
        ({"reward_range": (0, NAN)}, errors.InvalidValue, "reward_range must be a finite number"),
        ({"items": [{"id": "a"}, {"id": "a"}]}, errors.DuplicateCandidates, "'a'"),
        ({"items": [{"name": "a"}]}, errors.InvalidRequest, "'id' in row 0"),
        ({"history": [{"item": "nobody", "time": 0}]}, errors.UnknownItem, "nobody"),
        ({"history": [{"item": "news-0"}]}, errors.InvalidLog, "'time' in row 0"),
        ({"history": [{"item": "news-0", "time": 0, "reward": NAN}]}, errors.InvalidReward, "'reward' in row 0"),
    ],
    ids=lambda value: name(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_opened_is_refused_and_the_folder_can_be_opened_rightly_afterwards(tmp_path, options, error, match):
    with pytest.raises(error, match=match):
        Recommender.open(tmp_path, **{"items": CATALOGUE, **options})
    with Recommender.open(tmp_path, items=CATALOGUE) as shop:
        assert shop.recommend({}, size=12)


@pytest.mark.parametrize("folder", [None, "", 5, b""], ids=repr)
def test_a_folder_that_is_no_path(folder):
    with pytest.raises(errors.InvalidValue, match="folder must be a path that is not empty"):
        Recommender.open(folder, items=CATALOGUE)


@pytest.mark.parametrize("value", [1e308, -1e308, 1.1e15])
def test_a_reward_from_which_no_policy_would_recover(shop, value):
    shop.recommend(request(0), decision_id="huge")
    assert_refused(shop, lambda shop: shop.reward("huge", value), errors.InvalidReward, r"reward must lie in \[-1e\+15, 1e\+15\]")


@pytest.mark.parametrize("policy", ["wide-deep", "lin-ts", "squarecb", "hybrid-lin-ucb", "epsilon-greedy"])
def test_the_largest_rewards_do_not_stop_a_recommender(tmp_path, policy):
    with small_recommender(tmp_path, policy=policy, scorers=["recency"]) as shop:
        for number in range(4):
            shop.reward(shop.recommend({}, decision_id=f"d{number}").decision_id, (-1) ** number * 1e15)
        assert len(shop.recommend({}, size=3).ids) == 3


def test_a_reward_outside_of_the_declared_range(tmp_path):
    with small_recommender(tmp_path, reward_range=(0, 1)) as shop:
        ids = shop.recommend({}, size=2, decision_id="d").ids
        for value in (-1e-9, 1.5, 1e6):
            refused = errors.InvalidReward, r"reward must lie in \[0, 1\], the reward_range of this folder, got"
            assert_refused(shop, lambda shop, value=value: shop.reward("d", value, item=ids[0]), *refused)
            assert_refused(shop, lambda shop, value=value: shop.reward_slate("d", {ids[0]: value}), *refused)
            assert_refused(shop, lambda shop, value=value: shop.reward_slate("d", {}, others=value), *refused)
        assert shop.reward_slate("d", {ids[0]: 1, ids[1]: 0})


def test_the_declared_range_is_kept_and_another_one_is_said(tmp_path):
    small_recommender(tmp_path, reward_range=(0, 1)).close()
    with small_recommender(tmp_path) as shop:
        shop.recommend({}, decision_id="d")
        assert_refused(shop, lambda shop: shop.reward("d", 2.0), errors.InvalidReward, "reward_range of this folder")
    small_recommender(tmp_path, reward_range=[0, 1]).close()  # the same: nothing is said
    with pytest.warns(errors.ChangedSetting, match=r"reward_range was \(0\.0, 1\.0\) in this folder, and is \(0\.0, 5\.0\) from now on"):
        small_recommender(tmp_path, reward_range=(0, 5)).close()
    with small_recommender(tmp_path) as shop:
        assert shop.reward("d", 2.0)


class Thing:
    def __repr__(self):
        return "Thing()"


@attrs.frozen(kw_only=True)
class Keeps(TopicTally):
    kept: object = attrs.field(repr=False)

    def fit(self, log):
        return self.kept


@pytest.mark.parametrize("kept", [object(), {"a": Thing()}, {1: np.ones(1)}, np.array([None])], ids=name)
def test_a_model_that_could_not_be_read_back_is_refused_when_the_folder_is_made(tmp_path, kept):
    with pytest.raises(errors.InvalidValue, match=r"The state of Keeps\(\) must"):
        small_recommender(tmp_path, scorers=[Keeps(kept=kept)])
    with small_recommender(tmp_path, scorers=[Keeps(kept=None)]) as shop:
        assert shop.num_learned == 0
    with small_recommender(tmp_path, scorers=[Keeps(kept=None)]) as shop:
        assert shop._loop.evidence.states == [None]


class ForgetsTheComma(TopicTally):
    columns = "a"


def test_columns_that_are_no_tuple_of_names_are_refused(tmp_path):
    with pytest.raises(errors.InvalidValue, match=r"columns of .* must be a tuple of names, such as \('age',\), got 'a'"):
        open_recommender(tmp_path / "shop", scorers=[ForgetsTheComma()])
    assert not (tmp_path / "shop").exists()


class ReturnsNothing(TopicTally):
    def update(self, state, request, item, reward):
        super().update(state, request, item, reward)


def test_a_scorer_whose_update_returns_nothing_is_told_so_at_the_first_reward(tmp_path):
    with open_recommender(tmp_path / "shop", scorers=[ReturnsNothing()]) as shop:
        shown = shop.recommend(request(0))
        with pytest.raises(errors.InvalidAnswer, match="must return the state after the reward, got None"):
            shop.reward(shown.decision_id, 1.0, item=shown.ids[0])
