"""All verbs of a recommender in any order: it can always be audited, and a folder that is opened again holds the same."""

import random
import warnings

import pytest

import recsdk
from recsdk import errors
from recsdk.ledger.sqlite import Sqlite
from recsdk.live import learner
from recsdk.live.keeping import DAY, compact
from recsdk.live.transfer import export_ledger, import_ledger
from tests.live.shop import Hashing, TopicTally, crash, forget_snapshots, open_recommender, state

ITEMS = [{"id": f"i{number}", "topic": "abc"[number % 3], "price": float(number)} for number in range(7)]
USERS = ["ann", "bob", None]
SIGNALS = {"window": 60, "cap": 4.0, "signals": {"click": 1, "purchase": 3}}
FEEDBACKS = [
    None,
    recsdk.Feedback(**SIGNALS, start=-30, late=0.5),
    recsdk.Feedback(**SIGNALS, default=None, aggregation="latest"),
    recsdk.Feedback(**SIGNALS, start=-30, per="page"),
]
POLICIES = ["lin-ts", "lin-ucb", recsdk.Discounted(policy=recsdk.LinTS(), discount=0.9), "epsilon-greedy"]
TRIALS = [None, recsdk.Trials(challengers={"bold": "lin-ts"}, automatic=True, level=0.6)]
TRAFFICS = [None, recsdk.Traffic(sticky=40, burn_in=4, holdout=0.3), recsdk.Traffic(sticky=40)]
REFUSED = (
    errors.TooFewCandidates,
    errors.UnknownItem,
    errors.UnknownDecision,
    errors.DuplicateCandidates,
    errors.RewardConflict,
    errors.DecisionConflict,
    errors.InvalidValue,
)

FAULTS = (errors.InvalidLog, errors.InvalidPropensity, errors.InvalidAnswer)


class Clock:
    """A clock that stands until it is set."""

    now = 1_000_000.0

    def __call__(self):
        return self.now


class Shop:
    """A shop to which anything may happen, and what it must not change."""

    def __init__(self, folder, seed):
        self.random, self.root, self.clock, self.num = random.Random(seed), folder, Clock(), 0
        self.num_moves = 0
        self.folder, pick = folder / "0", self.random.choice
        self.feedback = pick(FEEDBACKS)
        self.parts = {"encoder": pick([None, Hashing(dim=2)]), "scorers": pick([[], ["popularity", TopicTally()]])}
        self.options = {"policy": pick(POLICIES), "trials": pick(TRIALS), "traffic": pick(TRAFFICS), "clock": self.clock}
        self.options |= {"feedback": self.feedback, "reward_range": None if self.feedback else (-4, 4), "snapshot_every": pick([3, 1000])}
        self.options |= {"log_features": pick(["shown", "all"])}
        self.open(items=ITEMS[:4])

    def open(self, items=()):
        self.shop = open_recommender(self.folder, items=items, **self.parts, **self.options)

    def name(self):
        return f"d{self.random.randrange(max(0, self.num - 8), self.num + 2)}"

    def recommend(self):
        pick, self.num = self.random.choice, self.num + 1
        wanted = pick([{}, {}, {"pinned": {0: "i1"}}, {"promoted": {0: ["i0", "i2"]}}, {"seen": ["i0"]}, {"chosen": ["i1", "i2"]}])
        self.shop.recommend({}, size=2, user=pick(USERS), deferred=pick([False, False, True]), decision_id=f"d{self.num}", **wanted)

    def tell(self):
        pick = self.random.choice
        if self.feedback is None:
            self.shop.reward(self.name(), pick([-1.0, 0.3]), position=pick([0, 1, "page"]))
        elif pick([True, False]):
            place = "page" if self.feedback.per == "page" else pick([0, 1])
            self.shop.signal("click", decision_id=self.name(), position=place, signal_id=f"s{pick(range(30))}")
        else:
            self.shop.signal("purchase", user=pick(USERS[:2]), item=pick(ITEMS)["id"], time=self.clock.now - pick([0, 20, 50]))

    def correct(self):
        records = self.shop._loop.ledger.rewards() if self.feedback is None else self.shop._loop.ledger.signals()
        self.shop.correct(self.random.choice([record[0] for record in records] or ["nothing"]), self.random.choice([None, 1.0, -0.5]))

    def say(self):
        self.random.choice([self.shop.shown, self.shop.not_shown])(self.name())

    def wait(self):
        self.clock.now += self.random.choice([1.0, 25.0, 61.0])

    def stock(self):
        item = self.random.choice(ITEMS)
        match self.random.choice(["remove", "add", "change"]):
            case "remove":
                self.shop.remove_items([item["id"]])
            case "add":
                self.shop.add_items([item])
            case "change":
                self.shop.change_items([item | {"price": self.random.choice([1.0, 3.0])}])

    def ramp(self):
        for standing in self.shop.standings():
            self.shop.ramp(standing.name, self.random.choice([0, 0.3]))

    def swap(self):
        scorers, going_back = self.random.choice([[], ["popularity"], ["popularity", TopicTally()]]), self.random.choice([True, False])
        try:
            self.shop.rollback() if going_back else self.shop.swap(scorers=scorers)
        except errors.ModelRefused as error:
            assert "no installed plugin" in str(error)  # noqa: PT017 -- it is only refused after an opening
        self.parts = {"encoder": self.shop._loop.evidence.encoder, "scorers": self.shop._loop.evidence.scorers}

    def forget(self):
        self.shop.forget(self.random.choice(USERS[:2]))

    def drop(self):
        self.shop.drop(days=self.random.choice([0, 30, 90]) / DAY)

    def held(self):
        ledger = self.shop._loop.ledger
        records = [*map(str, ledger.signals()), *map(str, ledger.rewards()), *map(repr, (record[:7] for record in ledger.decisions()))]
        return records, state(self.shop), self.shop.catalogue.vectors.tobytes(), sorted(self.shop.standings())

    def reopen(self):
        self.shop.settle()
        before, how = self.held(), self.random.choice(["crash", "fold", "compact", "compact", "transfer"])
        (crash if how == "crash" else recsdk.Recommender.close)(self.shop)
        if how == "fold":
            forget_snapshots(self.folder)
        if how == "compact":
            compact(self.folder, days=0, now=self.clock.now - self.random.choice([0, 30]))
        if how == "transfer":
            self.num_moves += 1
            path, before_it, self.folder = self.root / f"{self.num_moves}.jsonl", self.folder, self.root / str(self.num_moves)
            export_ledger(before_it, path)
            import_ledger(path, self.folder)
        assert not Sqlite().verify(self.folder).problems
        self.open()
        assert self.held() == before
        assert self.shop.audit()

    def happen(self, num_steps, *more):
        verbs = {self.recommend: 8, self.tell: 7, self.correct: 3, self.wait: 2}
        verbs |= dict.fromkeys((self.say, self.stock, self.ramp, self.swap, self.forget, self.reopen, *more), 1)
        for verb in self.random.choices(list(verbs), list(verbs.values()), k=num_steps):
            try:
                verb()
            except REFUSED as error:
                assert not isinstance(error, FAULTS)  # noqa: PT017 -- which of the verbs are refused is no matter
        self.reopen()
        self.shop.close()


SEEDS = (5, 12, 15, 18)
SLOW = [pytest.param(seed, marks=pytest.mark.slow) for seed in range(200) if seed not in SEEDS]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr("secrets.token_bytes", lambda size: bytes(range(size)))
    monkeypatch.setattr(learner, "QUICK", 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("seed", [*SEEDS, *SLOW])
def test_whatever_happens_the_state_is_the_fold_of_the_ledger(tmp_path, seed):
    Shop(tmp_path, seed).happen(60)


@pytest.mark.parametrize("seed", [*SEEDS, *SLOW])
def test_where_the_oldest_is_dropped_now_and_then_it_is_the_fold_of_what_is_left(tmp_path, seed):
    shop = Shop(tmp_path, seed)
    shop.happen(60, shop.drop)
