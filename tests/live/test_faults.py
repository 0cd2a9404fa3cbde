"""Parts that fail while a decision is made: it is made without them, says so, and has the probabilities that were drawn from."""

import functools
import sys
import threading
import time
from typing import ClassVar

import attrs
import numpy as np
import pytest

import recsdk
from recsdk import arrays, explore
from recsdk.base import Context
from recsdk.errors import InvalidRequest, InvalidValue, ModelRefused, UnfitDecisions
from recsdk.ledger.sqlite import Sqlite
from recsdk.live import marks
from recsdk.live.checking import check_ledger
from recsdk.live.drawing import Arm, Places, draw
from recsdk.live.faults import Asking, Fallback, Faults
from recsdk.live.health import health
from recsdk.live.interactions import interaction
from recsdk.live.marks import Marks
from recsdk.live.observe import CountObserver, Failed
from recsdk.live.reproduce import reproduce
from recsdk.live.trials import is_judged
from tests.live.shop import CATALOGUE, Clock, TopicTally, crash, small_recommender, state


class Broken(Exception):
    pass


def breaks(*_):
    raise Broken("out of order")


def asked(faults, now, call, name="part", part="part", **options):
    """Returns the answer of a part, or None where it failed or rests."""
    return Asking(faults, now)(name, part, call, lambda: None, **options)


TERMS = Fallback(failures=3, rest=60.0)


def broken_at(now=100.0):
    faults = Faults(TERMS)
    for _ in range(3):
        asked(faults, now, breaks)
    return faults


def test_a_part_rests_after_so_many_failures_in_a_row_and_is_not_asked():
    faults = broken_at()
    assert [(failure.in_a_row, failure.rests) for failure in faults.told()] == [(1, False), (2, False), (3, True)]
    assert asked(faults, 159.9, pytest.fail) is None
    assert faults.told() == []


def test_an_answer_in_between_begins_the_count_anew():
    faults = Faults(TERMS)
    for _ in range(4):
        asked(faults, 0.0, breaks)
        asked(faults, 0.0, breaks)
        assert asked(faults, 0.0, lambda: "here") == "here"
    assert not any(failure.rests for failure in faults.told())


def test_after_the_rest_one_request_tries_it_while_the_others_go_on_without():
    faults = broken_at()
    assert asked(faults, 160.0, lambda: asked(faults, 160.0, pytest.fail) or "back") == "back"
    assert asked(faults, 160.0, lambda: "back") == "back"


def test_a_try_that_fails_begins_another_rest():
    faults = broken_at()
    asked(faults, 160.0, breaks)
    assert faults.told()[-1].rests
    assert asked(faults, 219.0, pytest.fail) is None
    assert asked(faults, 220.0, lambda: "back") == "back"
    asked(faults, 221.0, breaks)
    assert faults.told()[-1] == Failed("part", "error", "Broken: out of order", 1, rests=False)


def test_a_clock_that_is_set_back_ends_the_rest():
    assert asked(broken_at(), -5_000.0, lambda: "back") == "back"


def test_each_part_has_its_own():
    assert asked(broken_at(), 100.0, lambda: "here", name="other") == "here"


def test_other_parts_begin_anew():
    faults = broken_at()
    faults.renew()
    assert asked(faults, 100.0, lambda: "here") == "here"


def test_what_is_the_callers_fault_passes_and_is_no_failure():
    def refuses():
        raise InvalidRequest("age must be a number")

    faults = broken_at()
    for _ in range(9):
        with pytest.raises(InvalidRequest):
            asked(faults, 160.0, refuses)
        with pytest.raises(KeyError):
            asked(faults, 160.0, {}.popitem, passing=(KeyError,))
    assert len(faults.told()) == 3
    assert asked(faults, 160.0, lambda: "back") == "back"


def test_an_interrupt_passes_and_leaves_the_part_to_the_next():
    def interrupted():
        raise KeyboardInterrupt

    faults = broken_at()
    with pytest.raises(KeyboardInterrupt):
        asked(faults, 160.0, interrupted)
    assert asked(faults, 160.0, lambda: "back") == "back"


def test_the_log_has_the_first_failure_and_the_one_before_the_rest_with_the_traceback(caplog):
    faults = broken_at()
    asked(faults, 160.0, breaks)
    asked(faults, 220.0, lambda: "back")
    assert [record.getMessage() for record in caplog.records] == [
        "part failed; decisions go on without it.",
        "part failed 3 times in a row, and is left out for 60 s; decisions go on without it.",
        "part answers again.",
    ]
    assert caplog.records[0].exc_info[0] is Broken


def hung(gate):
    """Returns a call that goes on until the gate is opened."""

    def call():
        gate.wait(60)
        return "too late"

    return call


def num_threads():
    return sum(thread.name == "recsdk-part" for thread in threading.enumerate())


@pytest.fixture
def gate():
    opened = threading.Event()
    yield opened
    opened.set()


@pytest.fixture
def made():
    """Makes what counts faults, and closes it in the end: no thread is left."""
    open_ones = []

    def make(terms):
        open_ones.append(Faults(terms))
        return open_ones[-1]

    yield make
    for faults in open_ones:
        faults.close()
    ended(0)


def ended(number):
    """Waits until no more than so many threads are left."""
    until = time.monotonic() + 30
    while num_threads() > number and time.monotonic() < until:
        time.sleep(0.001)
    assert num_threads() <= number


def test_a_late_answer_is_not_waited_for_and_thrown_away(made, gate):
    faults = made(Fallback(deadline=0.02))
    began = time.monotonic()
    assert asked(faults, 0.0, hung(gate)) is None
    assert time.monotonic() - began < 5
    assert faults.told() == [Failed("part", "late", "Late: no answer within 0.02 s", 1, rests=False)]


def test_a_thousand_calls_that_hang_leave_as_many_threads_as_failures_are_allowed(made, gate):
    faults = made(Fallback(deadline=0.001, failures=3, rest=1.0))
    for number in range(1_000):
        asked(faults, 2.0 * number, hung(gate))  # each after a rest
    assert num_threads() == 3
    gate.set()
    ended(0)


def test_a_part_is_tried_again_once_a_late_answer_has_come(made, gate):
    faults = made(Fallback(deadline=0.02, failures=1, rest=0.0))
    asked(faults, 0.0, hung(gate))
    assert asked(faults, 1.0, pytest.fail) is None
    gate.set()
    ended(0)
    assert "back" in (asked(faults, 1.0, lambda: "back") for _ in range(100))  # on a busy machine not at once


def test_answers_in_time_share_one_thread_which_ends_with_the_recommender(made):
    faults = made(Fallback(deadline=30.0))
    ours = {asked(faults, 0.0, threading.get_ident) for _ in range(100)}
    assert len(ours) == 1
    assert threading.get_ident() not in ours


def test_errors_and_settings_of_the_caller_go_with_the_call(made):
    faults = made(Fallback(deadline=30.0))
    with np.errstate(divide="raise"):
        assert asked(faults, 0.0, lambda: np.geterr()["divide"]) == "raise"
    asked(faults, 0.0, breaks)
    assert faults.told() == [Failed("part", "error", "Broken: out of order", 1, rests=False)]
    with pytest.raises(SystemExit):
        asked(faults, 0.0, lambda: sys.exit(3))


def test_a_native_part_is_asked_in_the_callers_thread_and_found_late_afterwards(made):
    class Native:
        dumps = loads = close = lambda *_: None

    faults = made(Fallback(deadline=0.001))
    assert asked(faults, 0.0, lambda: time.sleep(0.01) or threading.get_ident(), part=Native()) is None
    assert faults.told()[0].reason == "late"
    assert asked(made(Fallback(deadline=30.0)), 0.0, threading.get_ident, part=Native()) == threading.get_ident()


def test_many_threads_get_their_own_answers(made):
    faults, wrong = made(Fallback(deadline=30.0)), []

    def caller(own):
        wrong.extend(number for number in range(300) if asked(faults, 0.0, lambda number=number: (own, number)) != (own, number))

    callers = [threading.Thread(target=caller, args=(own,)) for own in range(6)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    assert wrong == []
    assert num_threads() <= 6


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"deadline": 0}, "Fallback.deadline must be a finite number > 0, got 0"),
        ({"deadline": "soon"}, "Fallback.deadline must be"),
        ({"failures": 0}, "Fallback.failures must be a whole number >= 1, got 0"),
        ({"rest": -1.0}, "Fallback.rest must be a finite number >= 0"),
        ({"rest": float("inf")}, "Fallback.rest must be"),
    ],
)
def test_settings_out_of_range_are_refused(settings, match):
    with pytest.raises(InvalidValue, match=match):
        Fallback(**settings)


def test_another_fallback_is_refused(tmp_path):
    with pytest.raises(InvalidValue, match=r"fallback must be a recsdk.Fallback, or None to let errors pass, got 'yes'"):
        small_recommender(tmp_path, fallback="yes")


@attrs.frozen
class Part:
    """A part of any kind that does as it is told; `ok` gives the right answer."""

    columns: ClassVar[tuple[str, ...]] = ("told",)
    dim: ClassVar[int] = 3
    runs_on: ClassVar[tuple[str, ...]] = ("numpy",)
    learns_from: ClassVar[str] = "chosen"
    uses_vectors: ClassVar[bool] = False

    does: list = attrs.field(repr=False, eq=False)

    def init(self, prior=None):
        return ()

    def fit(self, log, *, state=None, seed=0):
        return ()

    def _answer(self, right):
        answer = self.does[0]
        return answer(right) if callable(answer) else right if answer == "ok" else answer

    def score(self, state, request, candidates):
        return self._answer(np.full((len(candidates.ids), 1), 7, np.float32))

    def encode_requests(self, state, requests):
        return self._answer(np.full((1, 3), 7, np.float32))

    def encode_items(self, state, items):
        return np.ones((len(items.ids), 3), np.float32)

    def build(self, vectors):
        self.does.append("built")
        return ()

    def add(self, state, slot, vectors):
        self.does.append("added")
        return ()

    def search(self, state, rng, user, allowed, size):
        return self._answer(np.flatnonzero(allowed)[:size])

    def probs(self, state, rng, context):
        return self._answer(np.eye(len(context.mask))[np.flatnonzero(context.mask)[0]])


class Told(Part):
    """A policy of the same kind."""

    def update(self, state, interaction):
        return state


def nan(right):
    return right * np.nan


def of_another_shape(right):
    return right[..., None]


def writes(right):
    view = right.view()
    view.flags.writeable = False
    view[...] = 0  # as to its input


def slow(right):
    time.sleep(0.2)
    return right


FAULTS = [breaks, nan, of_another_shape, writes, None, "text", slow]
PARTS = {
    "scorer:told": lambda part: {"scorers": [part, "recency"]},
    "encoder": lambda part: {"encoder": part},
    "retriever": lambda part: {"retriever": part, "num_candidates": 5, "num_new": 0},
    "policy": lambda part: {"policy": Told(part.does), "floor": 0.0},
}


def opened(folder, part, does, **options):
    terms = Fallback(deadline=0.1 if does[0] is slow else None)
    return small_recommender(folder, **{"fallback": terms, "log_features": "all", **PARTS[part](Part(does)), **options})


def records(folder):
    ledger = Sqlite().read(folder)
    try:
        return list(ledger.decisions())
    finally:
        ledger.close()


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: getattr(fault, "__name__", repr(fault))[:20])
def test_a_decision_is_made_without_the_part_that_fails_and_says_so(tmp_path, part, fault):
    observer = CountObserver()
    with opened(tmp_path, part, [fault], observer=observer) as shop:
        slate = shop.recommend({"age": 3}, size=2)
    (record,) = records(tmp_path)
    assert marks.read(record) == Marks(failed=(part,))
    assert slate.propensities == tuple(record.probs[[0, 1], record.action])
    reason = "late" if fault is slow else "error"
    assert observer.counts[f"failed.{part}.{reason}"] == observer.counts[f"decided.without.{part}"] == 1


@pytest.mark.parametrize("part", PARTS)
def test_where_nothing_fails_nothing_is_marked_and_the_answer_is_used(tmp_path, part):
    with opened(tmp_path, part, ["ok"]) as shop:
        shop.recommend({"age": 3}, size=2)
    (record,) = records(tmp_path)
    assert record.marks is None
    if part == "policy":
        assert record.action.tolist() == [0, 1]


@pytest.mark.parametrize("part", ["scorer:told", "encoder"])
def test_a_failed_scorer_or_encoder_leaves_0_and_the_policy_decides_on_what_remains(tmp_path, part):
    with opened(tmp_path, part, ["ok"], policy="lin-ucb") as shop:
        shop.recommend({}, decision_id="with")
    with opened(tmp_path / "other", part, [breaks], policy="lin-ucb") as shop:
        shop.recommend({}, decision_id="without")
    (told,), (silent,) = records(tmp_path), records(tmp_path / "other")
    columns = [0] if part == "scorer:told" else [0, 1, 2, 3]
    assert (told.features[:, columns] == (7 if part == "scorer:told" else [21, 7, 7, 7])).all()
    assert (silent.features[:, columns] == 0).all()
    rest = np.delete(np.arange(silent.features.shape[1]), columns)
    assert (silent.features[:, rest] == told.features[:, rest]).all()
    policy = recsdk.WithFloor(policy=recsdk.LinUCB(), floor=0.05)
    context = Context(silent.features.astype(float), np.ones(12, bool), silent.slots.astype(np.int64))
    np.testing.assert_array_equal(policy.probs(policy.init(np.zeros(silent.features.shape[1])), None, context), silent.probs[0])


def test_a_failed_retriever_is_replaced_by_a_random_draw_and_its_index_is_built_anew(tmp_path):
    does = [breaks]
    with opened(tmp_path, "retriever", does) as shop:
        for number in range(200):
            shop.recommend({}, decision_id=f"d{number}")
        counts = np.bincount(np.concatenate([record.slots for record in records(tmp_path)]), minlength=12)
        assert counts.sum() == 1_000
        assert abs(counts - 1_000 / 12).max() < 4.5 * np.sqrt(1_000 / 12)
        shop.add_items([{"id": "new", "topic": "news", "price": 1.0}])
        assert does[-1] == "built"
        does[0] = "ok"
        shop._loop.options.faults.renew()
        shop.recommend({})
        shop.add_items([{"id": "newer", "topic": "news", "price": 1.0}])
        assert does[-1] == "added"


@pytest.mark.parametrize("fault", [breaks, nan], ids=lambda fault: fault.__name__)
def test_where_the_policy_fails_all_that_is_left_is_equally_probable_and_pins_stay(tmp_path, fault):
    with opened(tmp_path, "policy", [fault]) as shop:
        slate = shop.recommend({}, size=3, pinned={1: "news-2"}, decision_id="d")
    (record,) = records(tmp_path)
    assert slate.ids[1] == "news-2"
    np.testing.assert_allclose(slate.propensities, [1 / 11, 1, 1 / 10])
    np.testing.assert_allclose(record.probs[0, marks.left(record, 0)], 1 / 11)


@attrs.frozen
class Tires:
    """A policy that fails from a position on."""

    runs_on: ClassVar[tuple[str, ...]] = ("numpy",)
    learns_from: ClassVar[str] = "chosen"
    after: int

    def init(self, prior):
        return ()

    def probs(self, state, rng, context):
        rng.random()
        if len(context.mask) - context.mask.sum() >= self.after:
            raise Broken
        return explore.softmax(np.arange(len(context.mask), dtype=float), context.mask, 1.0)

    def update(self, state, interaction):
        return state


def test_what_was_drawn_before_the_policy_failed_stands_as_it_was_drawn(tmp_path):
    with small_recommender(tmp_path, policy=Tires(2), floor=0.0, fallback=Fallback()) as shop:
        shop.recommend({}, size=4)
    (record,) = records(tmp_path)
    for position, probs in enumerate(record.probs):
        left = marks.left(record, position)
        wanted = explore.softmax(np.arange(12.0), left, 1.0) if position < 2 else left / left.sum()
        np.testing.assert_allclose(probs, wanted)


def test_where_one_arm_fails_the_mixture_is_of_the_others_and_of_equal_probabilities():
    class Breaks(Tires):
        def probs(self, state, rng, context):
            raise Broken

    arms = [Arm("policy", 0.75, Breaks(0), ()), Arm("holdout", 0.25, Tires(99), ())]
    context = Context(np.zeros((4, 1)), np.ones(4, bool), np.arange(4))
    asking = Asking(Faults(Fallback()), 0.0)
    drawn = draw(arms, np.random.default_rng(0), context, 1, Places(), functools.cache(lambda: np.random.default_rng(1)), asking)
    by_holdout = explore.softmax(np.arange(4.0), context.mask, 1.0)
    np.testing.assert_allclose(drawn.decision.probs[0], 0.75 / 4 + 0.25 * by_holdout)
    assert list(asking.failed) == ["policy"]


def test_the_draw_after_a_failure_does_not_depend_on_what_the_part_took_of_the_random_numbers():
    @attrs.frozen
    class Draws(Tires):
        number: int = 0

        def probs(self, state, rng, context):
            rng.random(self.number)
            raise Broken

    context = Context(np.zeros((50, 1)), np.ones(50, bool), np.arange(50))

    def action(number):
        arms, asking = [Arm("policy", 1.0, Draws(0, number), ())], Asking(Faults(Fallback()), 0.0)
        return draw(
            arms, np.random.default_rng(0), context, 5, Places(), functools.cache(lambda: np.random.default_rng(1)), asking
        ).decision.action.tolist()

    assert action(0) == action(1) == action(1_000)


def test_where_the_arm_of_a_user_fails_that_arm_alone_is_replaced(tmp_path):
    traffic = recsdk.Traffic(holdout=0.5, holdout_policy=Tires(99))
    with small_recommender(tmp_path, policy=Tires(0), floor=0.0, traffic=traffic, fallback=Fallback()) as shop:
        for number in range(30):
            shop.recommend({}, user=f"u{number}")
    arms = set()
    for record in records(tmp_path):
        told = marks.read(record)
        arms.add((told.arm, told.failed))
        wanted = np.full(12, 1 / 12) if told.failed else explore.softmax(np.arange(12.0), np.ones(12, bool), 1.0)
        np.testing.assert_allclose(record.probs[0], wanted)
    assert arms == {("policy", ("policy",)), ("holdout", ())}


@pytest.mark.parametrize(("failed", "counts"), [((), True), (("retriever",), True), (("policy",), False), (("encoder",), False)])
def test_policies_are_judged_by_decisions_that_the_champion_has_drawn_on_all_evidence(tmp_path, failed, counts):
    with small_recommender(tmp_path, log_features="all") as shop:
        shop.reward(shop.recommend({}).decision_id, 1.0)
        (reward, record), *_ = shop._loop.ledger.outcomes()
    assert is_judged(record._replace(marks=Marks(failed=failed).dumps()), reward, 0) == counts


def test_of_the_applications_own_choice_it_is_not_known_what_a_failed_policy_would_have_done(tmp_path):
    with opened(tmp_path, "policy", [breaks]) as shop:
        shop.recommend({}, size=2, chosen=["news-1", "sport-0"])
    assert marks.read(records(tmp_path)[0]) == Marks(arm="application", failed=("policy",))
    assert np.isnan(recsdk.read_traffic(tmp_path).agreement)


def test_a_rule_is_never_left_out(tmp_path):
    with small_recommender(tmp_path, rules=[breaks], fallback=Fallback()) as shop, pytest.raises(Broken):
        shop.recommend({})
    assert records(tmp_path) == []


def test_a_request_that_a_scorer_refuses_is_the_callers_fault(tmp_path):
    def of_age(request, candidates):
        raise InvalidRequest("age must be there")

    with small_recommender(tmp_path, scorers=[of_age], fallback=Fallback()) as shop:
        with pytest.raises(InvalidRequest, match="age must be there"):
            shop.recommend({})
        assert shop._loop.options.faults.told() == []


def per_price(request, candidates):
    with np.errstate(divide="ignore"):
        return np.where(candidates.features["price"] == 0, np.nan, 1.0)


@pytest.mark.filterwarnings("ignore:The candidates")
def test_a_candidate_without_usable_scores_is_left_out_and_its_scorer_has_not_failed(tmp_path):
    with small_recommender(tmp_path, scorers=[per_price, "recency"], fallback=Fallback()) as shop:
        shop.recommend({})
        shop.recommend({}, candidates=["news-0", "news-1"])
    free, named = records(tmp_path)
    assert (len(free.slots), free.marks) == (9, None)
    assert (len(named.slots), marks.read(named).failed) == (2, ("scorer:per_price",))


class Sometimes:
    """A scorer that fails in each fifth second."""

    columns: ClassVar[tuple[str, ...]] = ("sometimes",)

    def __repr__(self):
        return "Sometimes()"

    def init(self):
        return ()

    def fit(self, log):
        return ()

    def score(self, state, request, candidates):
        if int(request.time) % 5 == 0:
            raise Broken
        return (5 + candidates.features["price"][:, None] / 4).astype(np.float32)


def shopped(folder, num_visits=120, **options):
    """Serves with a scorer that fails at times; each click is worth what the scorer says."""
    rng = np.random.default_rng(0)
    given = {"scorers": [Sometimes(), TopicTally()], "fallback": Fallback(), "log_features": "all", **options}
    shop = small_recommender(folder, policy="lin-ts", **given)
    for number in range(num_visits):
        slate = shop.recommend({}, decision_id=f"d{number}")
        price = {row["id"]: row["price"] for row in CATALOGUE}[slate.ids[0]]
        shop.reward(slate.decision_id, float(rng.random() < price / 4))
    return shop


def without_evidence(folder):
    return [record for record in records(folder) if not marks.read(record).has_all_evidence]


def test_outcomes_without_all_evidence_are_not_learned_by_the_policy_but_by_scorers_that_learn_themselves(tmp_path):
    with shopped(tmp_path) as shop:
        assert 10 < len(without_evidence(tmp_path)) < 60
        assert shop.num_learned == 120
        tally, ledger, policy = shop._loop.evidence.states[1], shop._loop.ledger, shop.policy
        wanted = policy.init(shop._loop.evidence.prior())
        for reward, record in ledger.outcomes():
            if marks.read(record).has_all_evidence:
                wanted = recsdk.learn(policy, wanted, interaction(policy, record, reward))
        for one, other in zip(arrays.leaves(shop._loop.learner.state), arrays.leaves(wanted), strict=True):
            np.testing.assert_array_equal(one, other)
        assert sum(count for _, count in tally.values()) == sum(
            CATALOGUE[record.slots[record.action[0]]]["price"] + 1 for record in records(tmp_path)
        )


def test_a_folder_with_failures_recovers_audits_and_is_reproduced(tmp_path):
    shop = shopped(tmp_path, snapshot_every=50)
    assert shop.audit()
    before = state(shop)
    crash(shop)
    with small_recommender(tmp_path, policy="lin-ts", scorers=[Sometimes(), TopicTally()], log_features="all") as shop:
        assert state(shop) == before
        assert shop.audit()
    told = reproduce(tmp_path, policy=shop.policy, scorers=[Sometimes(), TopicTally()])
    assert told.agreement == "same"
    assert [finding for finding in check_ledger(tmp_path) if finding.num_problems] == []


def test_corrections_of_outcomes_that_were_not_learned_are_not_learned_either(tmp_path):
    with shopped(tmp_path, scorers=[Sometimes()]) as shop:
        (record, *_) = without_evidence(tmp_path)
        before = state(shop)[1]
        shop.correct(f"{record.decision_id}/0", 0.25)
        assert state(shop)[1] == before
        assert shop.audit()


def test_the_log_for_evaluation_leaves_out_what_was_decided_without_all_evidence_and_says_how_much(tmp_path):
    shopped(tmp_path).close()
    num = len(without_evidence(tmp_path))
    with pytest.warns(UnfitDecisions, match=f"{num} decided without all evidence"):
        log = recsdk.read_ledger(tmp_path)
    assert len(log.reward) == 120 - num
    assert (log.context.features[..., 0] >= 5).all()


def test_the_log_for_evaluation_keeps_what_was_drawn_where_the_policy_failed(tmp_path):
    observer = CountObserver()
    with small_recommender(tmp_path, policy=Tires(0), floor=0.0, log_features="all", fallback=Fallback(), observer=observer) as shop:
        for number in range(30):
            shop.reward(shop.recommend({}, decision_id=f"d{number}").decision_id, 1.0)
    log = recsdk.read_ledger(tmp_path)
    assert len(log.reward) == 30
    np.testing.assert_allclose(log.propensity, 1 / 12)
    assert observer.counts["failed.policy.error"] == 5
    assert observer.counts["decided.without.policy"] == 30


def test_a_part_that_rests_is_tried_again_by_the_clock_of_the_recommender(tmp_path):
    does, clock, observer = [breaks], Clock(), CountObserver()
    with opened(tmp_path, "scorer:told", does, clock=clock, observer=observer, fallback=Fallback(failures=2, rest=1_000.0)) as shop:
        for _ in range(10):
            shop.recommend({})
        assert observer.counts["failed.scorer:told.error"] == 2
        does[0] = "ok"
        shop.recommend({})
        clock.now += 1_000
        shop.recommend({})
    assert [bool(record.marks) for record in records(tmp_path)] == [True] * 11 + [False]


def test_a_new_model_begins_without_the_failures_of_the_one_before(tmp_path):
    with opened(tmp_path, "scorer:told", [breaks], fallback=Fallback(failures=1, rest=1e9)) as shop:
        shop.recommend({}, decision_id="before")
        shop.swap(scorers=["recency"])
        shop.swap(scorers=[Part(["ok"]), "recency"])
        shop.recommend({}, decision_id="after")
    assert [record.marks for record in records(tmp_path)] == [Marks(failed=("scorer:told",)).dumps(), None]


def test_a_model_is_tried_strictly_before_it_is_published(tmp_path):
    with small_recommender(tmp_path, fallback=Fallback()) as shop:
        shop.recommend({})
        with pytest.raises(ModelRefused, match=r"answer stored requests.*Broken"):
            shop.swap(scorers=[Part([breaks])])


def test_without_a_fallback_errors_pass_and_nothing_is_decided(tmp_path):
    with opened(tmp_path, "scorer:told", [breaks], fallback=None) as shop, pytest.raises(Broken):
        shop.recommend({})
    assert records(tmp_path) == []


def test_a_recommender_that_is_closed_leaves_no_thread(tmp_path):
    with opened(tmp_path, "scorer:told", ["ok"], fallback=Fallback(deadline=30.0)) as shop:
        shop.recommend({})
        assert num_threads() == 1
    ended(0)


def test_a_web_thread_gets_its_answer_in_time_though_every_part_hangs(tmp_path, gate):
    does = [lambda right: gate.wait(60)]
    parts = {"scorers": [Part(does)], "encoder": Part(does), "retriever": Part(does), "policy": Told(does), "floor": 0.0}
    with small_recommender(tmp_path, **parts, num_candidates=5, num_new=0, fallback=Fallback(deadline=0.02)) as shop:
        began = time.monotonic()
        slate = shop.recommend({}, size=3)
        assert time.monotonic() - began < 10
        assert slate.propensities == (1 / 5, 1 / 4, 1 / 3)
        shop.add_items([{"id": "new", "topic": "news", "price": 1.0}])  # though a search is under way
        shop.reward(slate.decision_id, 1.0, item=slate.ids[0])
    assert marks.read(records(tmp_path)[0]).failed == ("encoder", "retriever", "scorer:told", "policy")


def test_the_status_tells_how_many_decisions_were_made_without_which_part_and_alarms(tmp_path):
    shopped(tmp_path).close()
    ledger = Sqlite().read(tmp_path)
    found = health(ledger)
    ledger.close()
    num = len(without_evidence(tmp_path))
    assert found.failed == {"scorer:sometimes": num}
    assert f"scorer:sometimes failed: {num / 120:.2%} of the last 120 decisions were made without it" in found.alarms[0]


@attrs.frozen
class Learns:
    """A scorer that learns online, and cannot from some requests until it is mended."""

    columns: ClassVar[tuple[str, ...]] = ("learns",)
    does: list = attrs.field(repr=False, eq=False)

    def init(self):
        return np.zeros(1)

    def fit(self, log):
        return np.zeros(1)

    def score(self, state, request, candidates):
        return np.full((len(candidates.ids), 1), state[0], np.float32)

    def update(self, state, request, item, reward):
        if request.features["bad"] and self.does[0] is breaks:
            raise Broken
        return state + reward


def test_where_a_part_cannot_learn_decisions_and_signals_go_on_and_all_is_learned_later_in_its_order(tmp_path):
    told, clock, does = CountObserver(), Clock(), [breaks]
    terms = {"feedback": recsdk.Feedback(window=10, signals={"click": 1}), "clock": clock, "observer": told, "policy": "lin-ts"}
    with small_recommender(tmp_path, scorers=[Learns(does)], fallback=Fallback(failures=2, rest=100.0), **terms) as shop:
        for number in range(19):
            slate = shop.recommend({"bad": number == 10}, decision_id=f"d{number}")
            assert shop.signal("click", decision_id=slate.decision_id) == recsdk.Receipt.TAKEN
            clock.now += 20
        assert shop.num_learned == 10
        assert told.counts["failed.learning.error"] in (3, 4)  # two in a row, and tries after a rest
        does[0] = "ok"
        clock.now += 100
        shop.settle()
        assert shop.num_learned == 19
        assert shop._loop.evidence.states[0] == 19
        assert shop.audit()
    assert {record.marks for record in records(tmp_path)} == {None}


def test_without_a_fallback_what_cannot_be_learned_raises(tmp_path):
    clock = Clock()
    feedback = recsdk.Feedback(window=10, signals={"click": 1})
    with small_recommender(tmp_path, scorers=[Learns([breaks])], feedback=feedback, clock=clock) as shop:
        shop.recommend({"bad": True})
        clock.now += 100
        with pytest.raises(Broken):
            shop.recommend({"bad": False})


def test_a_failure_at_what_is_only_compared_is_no_mark_of_the_decision(tmp_path):
    asked = []

    def distance(request, candidates):
        asked.append((request.features["age"], float(candidates.features["price"][0])))
        return [1 / (request.features["age"] - price) for price in candidates.features["price"].tolist()]

    with small_recommender(tmp_path, scorers=[distance], fallback=Fallback()) as shop:
        for age, price in ((1, 0), (3, 1), (2, 2)):
            shop.recommend({"age": age}, candidates=[f"news-{price}"])
    assert asked[:3] == [(1, 0.0), (3, 1.0), (1, 1.0)]  # the last is the request before with the present candidate, and fails
    assert [record.marks for record in records(tmp_path)] == [None, None, Marks(failed=("scorer:distance",)).dumps()]
