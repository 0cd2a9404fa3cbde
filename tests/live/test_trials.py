"""Challengers learn what the policy learns and decide nothing; the better one is promoted, an equal or worse one is not."""

import secrets
import subprocess
import sys
import warnings
from typing import ClassVar

import attrs
import numpy as np
import pytest

import recsdk
from recsdk import Context, Feedback, LinTS, LinUCB, Traffic, Trials
from recsdk.errors import ChangedSetting, InvalidValue, UnknownPlugin, Unproven
from recsdk.ledger import DecisionRecord, RewardRecord
from recsdk.live.contest import Contest
from recsdk.live.trials import Entry
from recsdk.ope.intervals import drifting_sequence, sequence
from recsdk.ope.intervals.sequence import Running
from tests.live.shop import crash, small_recommender, state
from tests.ope.samples import some_rounds
from tests.processes import ROOT

MEANS = (0.0, 1.0, 0.5)
ENOUGH = 250  # outcomes to prove the better one
FEW = 50  # the same at a level of one half
ITEMS = [{"id": f"i{slot}"} for slot in range(3)]


@attrs.frozen(kw_only=True)
class Fixed:
    """Shows each item with a fixed probability, and counts what it learns."""

    runs_on: ClassVar[tuple[str, ...]] = ("numpy",)
    learns_from: ClassVar[str] = "chosen"

    shares: tuple = (1 / 3, 1 / 3, 1 / 3)
    fails_at: int = -1

    def init(self, prior):
        return np.zeros((), np.int64)

    def probs(self, state, rng, context):
        weights = np.where(context.mask, np.array(self.shares)[context.item], 0.0)
        return weights / weights.sum()

    def update(self, state, interaction):
        if state == self.fails_at:
            raise ZeroDivisionError("a challenger's own fault")
        return state + 1


@attrs.frozen(kw_only=True)
class Hindsight(Fixed):
    """Shows what was rewarded last: the best policy there is, for an outcome that it has learned."""

    def init(self, prior):
        return np.full((), -1, np.int64)

    def probs(self, state, rng, context):
        found = (context.item == state) * 1.0
        return found if found.any() else np.full(3, 1 / 3)

    def update(self, state, interaction):
        return interaction.context.item[interaction.action] if interaction.reward else np.full((), -1, np.int64)


@pytest.fixture(autouse=True)
def draws(monkeypatch):
    """Folders with one secret: every run draws the same."""
    monkeypatch.setattr(secrets, "token_bytes", bytes)


EVEN, BETTER, WORSE = Fixed(), Fixed(shares=(0.1, 0.8, 0.1)), Fixed(shares=(0.8, 0.1, 0.1))
EQUAL = Fixed(shares=(0.1, 0.1, 0.8))  # the third item earns the mean of the three


def shop_with(folder, challengers, *, policy=EVEN, **changes):
    trials = {name: changes.pop(name) for name in ("level", "automatic", "guard") if name in changes}
    changes = {"reward_range": (0.0, 1.0), **changes}
    trials = Trials(challengers=challengers, **trials)
    return small_recommender(folder, items=ITEMS, policy=policy, floor=0, trials=trials, **changes)


def reward_of(item, number, means=MEANS):
    return float(np.random.default_rng([number, int(item[1:])]).random() < means[int(item[1:])])


def live(shop, numbers, means=MEANS):
    for number in numbers:
        slate = shop.recommend({}, decision_id=f"d{number}")
        shop.reward(f"d{number}", reward_of(slate.ids[0], number, means))


def judged(challenger, champion, seed, num_rounds, level, means=MEANS):
    """Returns after how many outcomes a challenger is proven, or None."""
    contest = Contest(Trials(challengers={"new": challenger}, level=level), [champion, challenger])
    entry = contest.entries["new"] = Entry("new", challenger, 0)
    entry.fresh(np.zeros(1))
    rng, shares = np.random.default_rng(seed), np.array(champion.shares)
    slots, features = np.arange(3, dtype=np.int32), np.ones((3, 1), np.float32)
    for number in range(num_rounds):
        action = rng.choice(3, p=shares)
        decision = DecisionRecord(f"d{number}", 0.0, "{}", "{}", 0, slots, np.array([action]), shares[None], features)
        reward = RewardRecord(f"r{number}", f"d{number}", 0, float(rng.random() < means[action]), 0.0)
        contest.judge(decision, reward)
        contest.learn(decision, reward)
        if contest.is_proven(entry):
            return number + 1
    assert entry.error == ""
    return None


def drawn(rng, challenger, champion, num_rounds):
    """Returns the gains of a challenger that `judged` adds in a run with this generator."""
    draws = [(rng.choice(3, p=np.array(champion.shares)), rng.random()) for _ in range(num_rounds)]
    return gains_of(*map(np.array, zip(*draws, strict=True)), challenger, champion)


def drawn_runs(rng, challenger, champion, num_rounds, num_runs):
    """Returns the gains of many runs, in columns."""
    shape = num_rounds, num_runs
    return gains_of(rng.choice(3, p=np.array(champion.shares), size=shape), rng.random(shape), challenger, champion)


def gains_of(action, luck, challenger, champion):
    weights, earned = np.array(challenger.shares) / np.array(champion.shares), luck < np.array(MEANS)[action]
    return 1 - earned + earned * weights[action]


def proven(gains, level):
    """Returns after how many outcomes each column of gains is proven, 0 for never: what `judged` does with one run, for many at once."""
    num_runs = gains.shape[1]
    total, squares, found = np.zeros(num_runs), np.zeros(num_runs), np.zeros(num_runs, np.int64)
    for number, gain in enumerate(gains, start=1):
        before = np.minimum((total + 0.5) / number, 1)
        total, squares = total + gain, squares + (gain - before) ** 2
        wealth = sequence._won(np.full(num_runs, number), total, squares)(np.ones(num_runs))
        found[(found == 0) & sequence._is_rich(wealth, -np.log1p(-level))] = number
    return found


class TestJudging:
    def test_a_running_bound_is_the_lower_end_of_the_sequence_for_a_log(self):
        rounds = some_rounds(size=300)
        found = drifting_sequence(rounds, reward_range=(0.0, 1.0), looks=[50, 300], level=0.9)
        running, lows = Running(), []
        for number, gain in enumerate((recsdk.ope.importance(rounds) * rounds.reward).tolist(), 1):
            running = running.add(gain)
            if number in (50, 300):
                lows.append(running.low(0.95))
        assert lows == pytest.approx(found.low, abs=1e-6)

    def test_a_better_challenger_is_proven_every_time(self):
        found = [judged(BETTER, EVEN, seed, 2_000, 0.95) for seed in range(5)]
        assert None not in found
        assert min(found) > 20

    def test_a_worse_challenger_is_never_proven(self):
        assert [judged(WORSE, EVEN, seed, 500, 0.5) for seed in range(5)] == [None] * 5

    def test_an_equal_challenger_is_rarely_proven(self):
        found = [judged(EQUAL, EVEN, seed, 300, 0.8) for seed in range(30)]
        assert sum(number is not None for number in found) <= 6

    def test_a_challenger_that_only_remembers_the_last_outcome_is_not_proven(self):
        equal = (0.5, 0.5, 0.5)
        assert [judged(Hindsight(), EVEN, seed, 200, 0.95, equal) for seed in range(5)] == [None] * 5

    def test_a_challenger_is_judged_by_an_outcome_before_it_learns_from_it(self, tmp_path):
        with shop_with(tmp_path, {"new": Hindsight()}) as shop:
            live(shop, range(60), means=(0.5, 0.5, 0.5))
            assert shop.standings()[0].advantage < 0.2  # with what it has learned, it would be .5

    def test_runs_side_by_side_are_proven_as_contests_one_by_one_are(self):
        gains = np.stack([drawn(np.random.default_rng(seed), BETTER, EVEN, 300) for seed in range(6)], axis=1)
        together, alone = proven(gains, 0.8), [judged(BETTER, EVEN, seed, 300, 0.8) for seed in range(6)]
        assert together.tolist() == alone
        assert len(set(alone)) > 2

    @pytest.mark.slow
    @pytest.mark.timeout(600)
    @pytest.mark.parametrize("level", [0.8, 0.95])
    def test_an_equal_challenger_is_proven_at_most_at_the_stated_rate(self, level):
        num_runs = 10_000
        gains = drawn_runs(np.random.default_rng(0), EQUAL, EVEN, 2_000, num_runs)
        found = (proven(gains, level) > 0).sum()
        print(f"an equal challenger: {found} of {num_runs} promoted within 2,000 outcomes at level {level}")
        assert found <= num_runs * (1 - level) + 3 * (num_runs * level * (1 - level)) ** 0.5

    @pytest.mark.slow
    @pytest.mark.timeout(600)
    def test_a_worse_challenger_is_never_proven_in_many_runs(self):
        assert not proven(drawn_runs(np.random.default_rng(1), WORSE, EVEN, 2_000, 3_000), 0.95).any()

    def test_the_advantage_is_the_known_one(self, tmp_path):
        with shop_with(tmp_path, {"new": BETTER}) as shop:
            live(shop, range(200))
            (standing,) = shop.standings()
            truth = np.dot(BETTER.shares, MEANS) - np.mean(MEANS)
            assert standing.num_rounds == 200
            assert standing.advantage == pytest.approx(truth, abs=0.11)
            assert standing.low < truth
            log = recsdk.read_ledger(tmp_path)
        shares = np.array(BETTER.shares)[log.context.item[np.arange(200), log.action]]
        assert standing.advantage == pytest.approx(((shares / log.propensity - 1) * log.reward).mean())


class TestPromotion:
    def test_a_better_challenger_takes_over_by_itself_and_decides(self, tmp_path):
        with shop_with(tmp_path, {"worse": WORSE, "better": BETTER}, automatic=True) as shop:
            live(shop, range(ENOUGH))
            assert shop.policy == BETTER
            assert [change.reason for change in shop.published] == ["opened", "promoted"]
            assert {standing.name for standing in shop.standings()} == {"policy", "worse"}
            record = shop._loop.ledger.decision(f"d{ENOUGH - 1}")
            assert record.probs[0, record.slots == 1] == pytest.approx(0.8)
            assert shop.num_learned == ENOUGH
            assert shop._loop.learner.state == ENOUGH
            assert shop.audit()

    def test_a_challenger_is_promoted_by_hand_when_it_is_proven_and_not_before(self, tmp_path):
        with shop_with(tmp_path, {"new": BETTER}) as shop:
            live(shop, range(20))
            with pytest.raises(Unproven, match=r"'new' must be shown to be better.*after 20 outcomes"):
                shop.promote("new")
            assert shop.policy == EVEN
            live(shop, range(20, ENOUGH))
            shop.promote("new")
            assert shop.policy == BETTER
            with pytest.raises(InvalidValue, match="must be one of the challengers"):
                shop.promote("new")

    def test_what_was_rolled_back_has_learned_meanwhile(self, tmp_path):
        with shop_with(tmp_path, {"new": BETTER}, automatic=True) as shop:
            with pytest.raises(InvalidValue, match="nothing to go back to"):
                shop.rollback()
            live(shop, range(ENOUGH))
            assert shop.policy == BETTER
            shop.rollback()
            assert shop.policy == EVEN
            assert shop._loop.learner.state == ENOUGH
            assert [change.reason for change in shop.published] == ["opened", "promoted", "rolled back"]
            with pytest.raises(InvalidValue, match="nothing to go back to"):
                shop.rollback()
            assert shop.audit()

    def test_a_champion_that_falls_below_the_guard_goes_back_by_itself(self, tmp_path):
        with shop_with(tmp_path, {"new": BETTER}, guard=0.4) as shop:
            live(shop, range(ENOUGH))
            shop.promote("new")
            live(shop, range(ENOUGH, ENOUGH + 50))
            assert shop.policy == BETTER  # it earns .85 a visit
            live(shop, range(ENOUGH + 50, ENOUGH + 250), means=(0.1, 0.1, 0.1))
            assert shop.policy == EVEN
            assert [change.reason for change in shop.published] == ["opened", "promoted", "rolled back"]
            assert shop.audit()

    def test_a_challenger_that_raises_is_out_and_the_shop_goes_on(self, tmp_path):
        with shop_with(tmp_path, {"bad": Fixed(fails_at=5)}, automatic=True) as shop:
            live(shop, range(10))
            (standing,) = shop.standings()
            assert standing.error == "ZeroDivisionError: a challenger's own fault"
            assert standing.num_rounds == 6
            with pytest.raises(Unproven, match="it raised ZeroDivisionError"):
                shop.promote("bad")
            assert shop.audit()
        with shop_with(tmp_path, {"bad": Fixed(fails_at=5)}) as shop:
            assert shop.standings() == (standing,)


class TestRamp:
    def test_the_propensities_are_those_of_the_exact_mixture(self, tmp_path):
        with shop_with(tmp_path, {"new": BETTER}) as shop:
            shop.ramp("new", 0.25)
            slates = [shop.recommend({}, size=2, decision_id=f"d{number}") for number in range(40)]
            mixed = 0.75 * np.array(EVEN.shares) + 0.25 * np.array(BETTER.shares)
            for slate in slates:
                record = shop._loop.ledger.decision(slate.decision_id)
                assert record.probs[0][np.argsort(record.slots)] == pytest.approx(mixed, abs=1e-15)
                left = Context(np.ones((3, 1)), np.arange(3) != record.action[0], record.slots)
                below = 0.75 * EVEN.probs(0, None, left) + 0.25 * BETTER.probs(0, None, left)
                assert record.probs[1] == pytest.approx(below, abs=1e-15)
            assert shop.published[-1].reason == "ramped"
            shop.ramp("new", 0)
            shop.recommend({}, decision_id="e")
            assert shop._loop.ledger.decision("e").probs[0] == pytest.approx(EVEN.shares)

    def test_a_ramp_lasts_over_an_opening(self, tmp_path):
        with shop_with(tmp_path, {"new": BETTER}) as shop:
            shop.ramp("new", 0.25)
        with shop_with(tmp_path, {"new": BETTER}) as shop:
            assert shop.standings()[0].share == 0.25
        with shop_with(tmp_path, {"new": WORSE}) as shop:  # another one by that name
            assert shop.standings()[0].share == 0


class TestRecovery:
    @pytest.mark.parametrize("policies", [(LinTS(), LinUCB(alpha=2.0)), (EVEN, BETTER)])
    def test_the_challengers_are_the_same_after_a_crash(self, tmp_path, policies):
        shop = shop_with(tmp_path, {"new": policies[1]}, policy=policies[0], snapshot_every=7)
        live(shop, range(40))
        before = state(shop), shop._loop.learner.contest.written()
        crash(shop)
        shop = shop_with(tmp_path, {"new": policies[1]}, policy=policies[0])
        assert (state(shop), shop._loop.learner.contest.written()) == before
        assert shop.audit()
        shop.close()

    def test_a_challenger_that_enters_a_living_folder_learns_the_whole_log_and_is_judged_from_then_on(self, tmp_path):
        with small_recommender(tmp_path, items=ITEMS, policy=EVEN, floor=0, log_features="all") as shop:
            live(shop, range(30))
        with shop_with(tmp_path, {"new": BETTER}) as shop:
            assert shop._loop.learner.contest.entries["new"].state == 30
            assert shop.standings()[0].num_rounds == 0
            live(shop, range(30, 40))
            assert shop.standings()[0].num_rounds == 10
            assert shop.audit()

    def test_a_promoted_policy_decides_after_an_opening_too(self, tmp_path):
        shop = shop_with(tmp_path, {"new": BETTER}, automatic=True)
        live(shop, range(ENOUGH))
        crash(shop)
        with shop_with(tmp_path, {"new": BETTER}, automatic=True) as shop:
            assert shop.policy == BETTER
            assert shop.audit()
        with small_recommender(tmp_path, policy=BETTER, floor=0) as shop:  # the trial is over: the winner is the policy
            assert shop.policy == BETTER

    def test_a_promoted_policy_that_is_not_given_any_more_is_said(self, tmp_path):
        with shop_with(tmp_path, {"new": BETTER}, automatic=True) as shop:
            live(shop, range(ENOUGH))
        with (
            pytest.warns(ChangedSetting, match="promoted policy 'new' is not among those given"),
            shop_with(tmp_path, {"x": WORSE}) as shop,
        ):
            assert shop.policy == EVEN
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            small_recommender(tmp_path, policy=EVEN, floor=0).close()

    def test_killed_at_any_statement_of_a_promotion_it_has_happened_or_not(self, tmp_path):
        (tmp_path / "shops").mkdir()
        with shop_with(tmp_path / "before", {"new": BETTER}, level=0.5) as shop:
            live(shop, range(FEW), means=(0.0, 1.0, 0.0))
        subprocess.run([sys.executable, "-m", "tests.live.process", "promote", str(tmp_path / "shops")], cwd=ROOT, check=True)  # noqa: S603
        found = set()
        for folder in sorted((tmp_path / "shops").iterdir()):
            shop = shop_with(folder, {"new": BETTER}, level=0.5)
            reasons = [change.reason for change in shop.published]
            assert (shop.policy == BETTER) == (reasons == ["opened", "promoted"])
            assert shop.num_learned == FEW
            assert shop.audit()
            found.add(reasons[-1])
            crash(shop)
        assert found == {"opened", "promoted"}

    def test_standings_come_in_the_order_of_the_challengers_whatever_happened(self, tmp_path):
        challengers = {"worse": WORSE, "better": BETTER, "equal": EQUAL}

        def order(shop):
            return [standing.name for standing in shop.standings()]

        with shop_with(tmp_path, challengers) as shop:
            assert order(shop) == ["worse", "better", "equal"]
            shop.recommend({}, decision_id="d0", user="ann")
            shop.reward("d0", 1.0)
            shop.forget("ann")
            assert order(shop) == ["worse", "better", "equal"]
        with shop_with(tmp_path, challengers) as shop:
            assert order(shop) == ["worse", "better", "equal"]
            live(shop, range(1, ENOUGH))
            shop.promote("better")
            assert order(shop) == ["policy", "worse", "equal"]
        with shop_with(tmp_path, challengers) as shop:
            assert order(shop) == ["policy", "worse", "equal"]
            assert shop.audit()


class TestOneOutcomeOfADecision:
    def feedback(self, per):
        return Feedback(window=10, cap=1.0, signals={"click": 1}, per=per)

    @pytest.mark.parametrize("units", [("item", "page"), ("page", "item")])
    def test_a_page_and_its_top_item_are_one_round(self, tmp_path, units):
        now = [1e6]
        options = {"reward_range": None, "snapshot_every": 3, "clock": lambda: now[0]}
        with shop_with(tmp_path, {"new": BETTER}, feedback=self.feedback(units[0]), **options) as shop:
            for number in range(5):
                shown = shop.recommend({}, size=2, decision_id=f"d{number}")
                shop.signal("click", decision_id=f"d{number}", item=shown.ids[0], signal_id=f"s{number}")
            now[0] += 20
            shop.settle()
            before = shop.standings()
            assert before[0].num_rounds == 5
        with pytest.warns(ChangedSetting):
            shop = shop_with(tmp_path, {"new": BETTER}, feedback=self.feedback(units[1]), **options)
        shop.correct("s3", 0.5)  # its rewards are those of the other unit from now on
        assert {reward.position for reward in shop._loop.ledger.rewards_of("d3") if reward.replaces is None} == {-1, 0, 1}
        assert shop.standings() == before
        assert shop.audit()
        crash(shop)
        with shop_with(tmp_path, {"new": BETTER}, feedback=self.feedback(units[1]), **options) as shop:
            assert shop.standings() == before

    @pytest.mark.parametrize(("given", "per"), [(0, "page"), ("page", "item")])
    def test_silence_adds_no_page_to_items_that_have_rewards_nor_items_to_a_page(self, tmp_path, given, per):
        now = [1e6]
        with small_recommender(tmp_path, items=ITEMS, clock=lambda: now[0]) as shop:
            shop.recommend({}, size=2, decision_id="d0")
            shop.recommend({}, size=2, decision_id="d1")
            shop.reward("d0", 1.0, position=given)
        now[0] += 20
        with small_recommender(tmp_path, items=ITEMS, feedback=self.feedback(per), clock=lambda: now[0]) as shop:
            assert shop.settle() == (1 if per == "page" else 2)  # of the other decision
            assert [reward.value for reward in shop._loop.ledger.rewards_of("d0")] == [1.0]
            assert (recsdk.read_traffic(tmp_path).arms[0].num_rewards, shop.num_learned) == ((2, 2) if per == "page" else (3, 3))


class TestRefusals:
    def test_trials_need_a_range_of_rewards(self, tmp_path):
        with pytest.raises(InvalidValue, match="declare reward_range=, or the cap of the feedback"):
            shop_with(tmp_path, {"new": BETTER}, reward_range=None)
        feedback = Feedback(window=60, cap=3, default=-5.0)
        with shop_with(tmp_path, {"new": BETTER}, reward_range=None, feedback=feedback) as shop:
            assert shop._loop.learner.contest.bounds == (-5.0, 3)

    @pytest.mark.parametrize(
        ("settings", "told"),
        [
            ({"challengers": {}}, "at least one name"),
            ({"challengers": {"policy": "lin-ts"}}, "none 'policy'"),
            ({"challengers": {"": "lin-ts"}}, "1 to 128 bytes"),
            ({"challengers": {"a": "lin-ts"}, "level": 1.0}, "level must be in"),
            ({"challengers": {"a": "lin-ts"}, "automatic": 1}, "Trials.automatic"),
            ({"challengers": {"a": "lin-ts"}, "guard": float("nan")}, "Trials.guard"),
        ],
    )
    def test_settings_out_of_range_are_refused(self, settings, told):
        with pytest.raises(InvalidValue, match=told):
            Trials(**settings)

    @pytest.mark.parametrize(("given", "error", "told"), [("lin-tts", UnknownPlugin, "Did you mean 'lin-ts'"), (3, InvalidValue, "lacks")])
    def test_a_challenger_that_is_no_policy_is_refused_when_the_trials_are_made(self, given, error, told):
        with pytest.raises(error, match=told):
            Trials(challengers={"new": given})

    def test_what_is_no_trials_or_no_policy_is_refused(self, tmp_path):
        with pytest.raises(InvalidValue, match=r"trials must be a recsdk\.Trials"):
            small_recommender(tmp_path, trials={"a": "lin-ts"})
        with pytest.raises(InvalidValue, match="guard must lie between"):
            shop_with(tmp_path, {"new": BETTER}, guard=2.0)
        with small_recommender(tmp_path) as shop:
            assert shop.standings() == ()
            for call in (lambda: shop.promote("a"), lambda: shop.ramp("a", 0.5)):
                with pytest.raises(InvalidValue, match="has no challengers"):
                    call()

    @pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), True])
    def test_a_share_out_of_range_is_refused(self, tmp_path, share):
        with shop_with(tmp_path, {"new": BETTER}) as shop, pytest.raises(InvalidValue, match="share"):
            shop.ramp("new", share)


class TestCorrections:
    @pytest.mark.parametrize("policies", [(LinTS(), LinUCB(alpha=2.0)), (LinTS(), Fixed()), (Fixed(), LinTS())])
    def test_corrections_reach_the_challengers_and_leave_the_judgement(self, tmp_path, policies):
        shop = shop_with(tmp_path, {"new": policies[1]}, policy=policies[0], snapshot_every=7)
        live(shop, range(20))
        shop.correct("d3/0", 0.25)
        shop.correct("d12/0", 0.5)
        live(shop, range(20, 30))
        (standing,) = shop.standings()
        assert standing.num_rounds == 30
        assert shop.audit()
        before = state(shop), shop._loop.learner.contest.written()
        crash(shop)
        with shop_with(tmp_path, {"new": policies[1]}, policy=policies[0]) as shop:
            assert (state(shop), shop._loop.learner.contest.written()) == before
            assert shop.standings() == (standing,)


def test_what_a_holdout_decides_judges_nobody(tmp_path):
    traffic = Traffic(holdout=0.5, burn_in=10)
    with shop_with(tmp_path, {"new": BETTER}, policy=BETTER, traffic=traffic) as shop:  # the same policy, better than the holdout's
        for number in range(300):
            slate = shop.recommend({}, decision_id=f"d{number}", user=f"u{number}")
            shop.reward(f"d{number}", reward_of(slate.ids[0], number))
        (standing,) = shop.standings()
        assert 100 < standing.num_rounds < 200
        assert standing.advantage == 0
        assert shop.audit()


def test_a_holdout_in_every_decision_is_refused_beside_trials(tmp_path):
    with pytest.raises(InvalidValue, match="holdout_by must be 'user'"):
        shop_with(tmp_path, {"new": BETTER}, traffic=Traffic(holdout=0.1, holdout_by="decision"))


def test_a_pinned_top_judges_nobody_and_a_promoted_one_among_the_promoted(tmp_path):
    with shop_with(tmp_path, {"new": BETTER}) as shop:
        shop.recommend({}, decision_id="pinned", pinned={0: "i1"})
        shop.recommend({}, decision_id="promoted", promoted={0: ["i0", "i1"]})
        shop.reward("pinned", 1.0)
        assert shop.standings()[0].num_rounds == 0
        record = shop._loop.ledger.decision("promoted")
        item = int(record.slots[record.action[0]])
        shop.reward("promoted", 1.0)
        assert shop.standings()[0].advantage == pytest.approx(BETTER.shares[item] / 0.9 / 0.5 - 1)
