"""Are the propensities in the ledger true? Measured on what the live loop wrote, through all that can come between.

That is: other policies, reopenings and kills, items that come and go, unusable scores, pinned and promoted items, choices of the
application's own, slates that are served again, a burn-in and a holdout of each kind, scorers and policies that fail.
"""

import hashlib
import json
import warnings
from collections import Counter
from functools import cache, partial
from typing import ClassVar, NamedTuple

import attrs
import numpy as np
import pytest

import recsdk
from recsdk.base import Context
from recsdk.errors import IgnoredInput
from recsdk.ledger.sqlite import Sqlite
from recsdk.live import marks
from recsdk.live.checking import check_ledger
from recsdk.live.drawing import Arm, Places, draw, taken
from recsdk.live.faults import Asking, Fallback, Faults
from recsdk.live.features import prior
from recsdk.live.honesty import Honesty
from recsdk.live.identity import identity
from recsdk.live.intake import canonical
from recsdk.live.interactions import after
from recsdk.live.recommender import Recommender
from recsdk.policies.wrappers import WithFloor
from tests.live.shop import TOPICS, Clock, TopicTally, crash

SESSIONS = 6
SIZE = 2
SALT = bytes(range(32))


@attrs.frozen
class Failing:
    """A policy that fails for some sets of candidates, after it has drawn random numbers."""

    runs_on: ClassVar[tuple[str, ...]] = ("numpy",)
    learns_from: ClassVar[str] = "chosen"
    policy: object

    def init(self, prior):
        return self.policy.init(prior)

    def probs(self, state, rng, context):
        probs = self.policy.probs(state, rng, context)
        if context.item[context.mask].sum() % 13 == 0:
            raise ConnectionError
        return probs

    def update(self, state, interaction):
        return self.policy.update(state, interaction)


POLICIES = [
    WithFloor(policy=Failing(recsdk.LinTS()), floor=0.05),
    WithFloor(policy=Failing(recsdk.LinUCB()), floor=0.3),
    WithFloor(policy=Failing(recsdk.EpsilonGreedy(epsilon=0.1)), floor=0.05),
]
CHAMPION = recsdk.EpsilonGreedy(epsilon=0.5)
TRAFFIC = [
    recsdk.Traffic(sticky=12, burn_in=150),
    recsdk.Traffic(sticky=12, burn_in=150, holdout=0.3, holdout_policy=CHAMPION, holdout_by="decision"),
    recsdk.Traffic(sticky=12, burn_in=150, holdout=0.3),
]
FACTORS = {topic: {other: 0.1 + 0.6 * (topic == other) for other in TOPICS} for topic in TOPICS}


@pytest.fixture(scope="module", params=[3_000, pytest.param(210_000, marks=[pytest.mark.slow, pytest.mark.timeout(0)])])
def folder(tmp_path_factory, request):
    path = tmp_path_factory.mktemp("shop")
    serve(path, request.param)
    return path


def serve(path, num_visits, seed=3):
    """Opens a folder six times by three policies, closes or kills it, and lets items go and come all the time."""
    rng, clock, session = np.random.default_rng(seed), Clock(), num_visits // SESSIONS
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", IgnoredInput)  # of candidates with unusable scores
        patch.setattr("secrets.token_bytes", lambda size: SALT)
        for number in range(SESSIONS):
            wrapped = POLICIES[number % 3]
            shop = Recommender.open(
                path,
                items=[{"id": f"{topic}-{k}", "topic": topic, "price": k} for k in range(4) for topic in TOPICS],
                scorers=["recency", same_topic, TopicTally(), now_and_then],
                policy=wrapped.policy,
                floor=wrapped.floor,
                traffic=TRAFFIC[number % 3],
                fallback=Fallback(failures=5, rest=30.0),
                log_features="all",
                snapshot_every=max(700, session // 2),
                clock=clock,
            )
            for visited in range(number * session, (number + 1) * session):
                visit(shop, visited, rng)
            crash(shop) if number % 2 else shop.close()


def same_topic(request, candidates):
    if int(request.time) // 20 % 15 == 0:  # long enough to be left out, and to be tried in vain
        raise TimeoutError
    return candidates.features["topic"] == request.features["likes"]


def now_and_then(request, candidates):
    return np.where((candidates.features["price"] == 1) & (request.features["likes"] == "music"), np.nan, 0.0)


def wanted(number, shop, rng):
    """Returns what the application wants of a visit besides, of items that never have unusable scores."""
    some = [item for item in rng.choice(sorted(held(shop)), 8, replace=False).tolist() if not item.endswith("-1")]
    if number % 7 == 0:
        return {"candidates": some[: 2 + number % 4]}
    if number % 7 == 3:
        first = min(held(shop) - {f"{topic}-1" for topic in TOPICS})
        rest = [item for item in some if item != first]
        return [{"pinned": {0: first}}, {"promoted": {1: rest}}, {"pinned": {1: first}, "promoted": {0: rest}}][number % 3]
    return {"chosen": some[:SIZE]} if number % 35 == 1 else {}


def visit(shop, number, rng):
    likes, user = TOPICS[rng.integers(3)], f"u{rng.integers(30)}" if rng.random() < 0.4 else None
    given = wanted(number, shop, rng)
    slate = shop.recommend({"likes": likes}, size=SIZE, decision_id=f"d{number}", user=user, **given)
    clicks = {item: float(rng.random() < FACTORS[likes][item.split("-")[0]]) for item in slate.ids}
    if number % 3 and slate.repeats is None:  # some are never rewarded
        shop.reward_slate(slate.decision_id, clicks)
    if number % 40 == 0:
        shop.remove_items(rng.choice(sorted(held(shop)), 2, replace=False).tolist())
    if number % 40 == 20:
        gone = sorted(set(shop.catalogue.items.ids[-60:]) - held(shop))
        shop.add_items([{"id": gone[0], "topic": gone[0].split("-")[0], "price": 0}])
        shop.add_items([{"id": f"{TOPICS[number % 3]}-new-{number}0", "topic": TOPICS[number % 3], "price": number % 50 + 2}])


def held(shop):
    return set(shop.catalogue.items.ids[shop.catalogue.active])


@pytest.fixture(scope="module")
def records(folder):
    ledger = Sqlite().open(folder)
    found = list(ledger.decisions())
    ledger.close()
    return found


class Draws(NamedTuple):
    """Every single draw of the ledger: the candidates that were left, their slots and features, and the logged probabilities."""

    probs: list
    action: list
    slots: list


@pytest.fixture(scope="module")
def draws(records):
    return drawn(records)


def drawn(records):
    """Returns every draw, and checks that nothing but what was left had a probability."""
    found = Draws([], [], [])
    for record in records:
        for position, (action, probs) in enumerate(zip(record.action, record.probs, strict=True)):
            left = marks.left(record, position)
            assert left[action]
            assert not probs[~left].any()
            if marks.undrawn(record, position) is None:
                found.probs.append(probs[left])
                found.slots.append(record.slots[left])
                found.action.append(int(left[:action].sum()))
    return found


def worst_bin(draws):
    """Returns the largest |z| over 20 bins of the logged probability: observed draws against expected ones."""
    probs = np.concatenate(draws.probs)
    drawn = np.concatenate([np.arange(len(row)) == action for row, action in zip(draws.probs, draws.action, strict=True)])
    edges = np.quantile(probs, np.linspace(0, 1, 21)[1:-1])
    bins = np.unique(np.searchsorted(edges, probs, side="right"), return_inverse=True)[1]
    variance = np.bincount(bins, np.maximum(probs * (1 - probs), 1e-12))
    return np.abs(np.bincount(bins, drawn - probs) / np.sqrt(variance)).max()


def worst_weight(draws):
    """Returns the largest |z| of the mean importance weight, which is 1, over five targets."""
    worst = 0.0
    for target in range(5):
        weights = []
        for probs, action, slots in zip(draws.probs, draws.action, draws.slots, strict=True):
            wanted = np.ones(len(slots)) if target == 0 else 1.0 + (slots.astype(np.int64) * 7919 * target % 10) ** 2
            weights.append(wanted[action] / wanted.sum() / max(probs[action], 1e-9))
        worst = max(worst, abs(np.mean(weights) - 1) / max(np.std(weights) / np.sqrt(len(weights)), 1e-9))
    return worst


def test_the_log_is_of_the_kind_that_was_meant(records, draws):
    told = [marks.read(record) for record in records]
    share = Counter((mark.arm, mark.by) for mark in told)
    assert share["burn-in", ""] == 150
    assert min(share["holdout", "decision"], share["policy", "decision"], share["holdout", "user"], share["policy", "user"]) > 30
    assert share["application", ""] > 30
    assert sum(mark.repeats is not None for mark in told) > 30
    assert sum(bool(mark.pinned) for mark in told) > 200
    assert sum(bool(mark.promoted) for mark in told) > 200
    failed = Counter(part for mark in told for part in mark.failed)
    assert min(failed["scorer:same_topic"], failed["policy"]) > 150
    assert 1.5 * len(records) < len(draws.action) < SIZE * len(records)
    assert len({record.parts for record in records}) == 3
    assert len({len(record.slots) for record in records}) > 3
    assert max(record.slots.max() for record in records) > 70  # of items that were added later
    assert min(probs.min() for probs in draws.probs) < 0.01


def test_in_every_bin_of_the_logged_probability_items_were_shown_as_often_as_it_says(draws):
    assert worst_bin(draws) < 4.5


def test_importance_weights_towards_any_target_have_mean_one(draws):
    assert worst_weight(draws) < 4


def without_floor(probs, action):
    return np.maximum(probs - 0.05 / len(probs), 0) / 0.95


def rounded(probs, action):
    return np.round(probs, 1)


def swapped(probs, action):
    return np.concatenate([probs[1::-1], probs[2:]])


def of_the_best(probs, action):
    return np.where(np.arange(len(probs)) == action, probs.max(), probs)


@pytest.fixture
def pinned_as_drawn(records):
    """What would be logged if a pinned item were taken for one that was drawn from all that is left."""
    found = Draws([], [], [])
    for record in records:
        for position in marks.read(record).pinned:
            left = np.ones(len(record.slots), bool)
            left[record.action[:position]] = False
            found.probs.append(left[left] / left.sum())
            found.slots.append(record.slots[left])
            found.action.append(int(left[: record.action[position]].sum()))
    return found


def test_a_ledger_that_takes_pinned_items_for_drawn_ones_would_be_found_out(pinned_as_drawn):
    assert max(worst_bin(pinned_as_drawn), worst_weight(pinned_as_drawn)) > 8


@pytest.mark.parametrize("lie", [without_floor, rounded, swapped, of_the_best])
def test_a_ledger_with_other_propensities_would_be_found_out(draws, lie):
    told = draws._replace(probs=[lie(probs, action) for probs, action in zip(draws.probs, draws.action, strict=True)])
    assert max(worst_bin(told), worst_weight(told)) > 8


def counted(draws):
    honesty = Honesty()
    for probs, action, slots in zip(*draws, strict=True):
        honesty.add(probs, action, slots.astype(np.int64))
    return honesty


def test_the_check_of_a_ledger_finds_true_propensities_and_nothing_wrong(folder, records, draws):
    findings = {finding.check: finding for finding in check_ledger(folder)}
    assert [finding for finding in findings.values() if finding.num_problems] == []
    assert findings["propensities"].num == counted(draws).num_draws == len(draws.action)
    assert findings["decisions"].num == len(records)


@pytest.mark.parametrize("lie", [without_floor, rounded, swapped, of_the_best])
def test_the_check_of_a_ledger_finds_each_lie(draws, lie):
    told = draws._replace(probs=[lie(probs, action) for probs, action in zip(draws.probs, draws.action, strict=True)])
    assert counted(told).lies()


def test_every_decision_can_be_made_again_from_the_ledger_alone(folder, records):
    ledger = Sqlite().open(folder)
    salt, outcomes = ledger.get("salt"), list(ledger.outcomes())
    ledger.close()
    assert salt == SALT
    states = {canonical(identity(policy)): [policy, policy.init(prior(4, 0)), 0] for policy in POLICIES}
    for record in records:
        told = marks.read(record)
        if told.repeats is not None:
            continue
        made = json.loads(record.parts)
        assert made["draw"] == "blake2b-philox-1"
        policy, state, learned = states[canonical(made["policy"])]
        for reward, rewarded in outcomes[learned : record.num_learned]:
            state = after(policy, state, rewarded, reward, None)
        states[canonical(made["policy"])][1:] = state, record.num_learned
        context = Context(record.features.astype(np.float64), np.ones(len(record.slots), bool), record.slots.astype(np.int64))
        arms = arms_of(told, made, Arm("policy", 1.0, policy, state))
        failed = [name for name in told.failed if name == "policy"]
        if told.arm == "application":
            agreement = taken(arms[0], generator(salt, record), context, record.action, Asking(Faults(Fallback())))[1]
            assert told.agreement == (() if failed else agreement)
            continue
        places = Places({place: record.action[place] for place in told.pinned}, dict(told.promoted))
        made_again = []
        for resting in ([], failed) if failed else ([],):  # it has failed now, or rested since it had failed before
            asking = Asking(Faults(Fallback()))
            asking.failed.update(dict.fromkeys(resting))
            spare = cache(partial(generator, salt, record, b"spare"))
            again = draw(arms, generator(salt, record), context, SIZE, places, spare, asking)
            if list(asking.failed) == failed and again.arm.name == told.arm:
                made_again.append((again.decision.probs.tolist(), again.decision.action.tolist()))
        assert (record.probs.tolist(), record.action.tolist()) in made_again


def generator(salt, record, purpose=b""):
    key = hashlib.blake2b(record.decision_id.encode(), key=salt, digest_size=16, person=purpose).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(key, "<u8")))


def arms_of(told, made, policy):
    """Returns who may have decided."""
    if told.arm == "burn-in" or (told.arm == "holdout" and told.by == "user"):
        return [Arm(told.arm, 1.0, recsdk.Uniform(), ())]
    if told.by == "decision":
        champion = CHAMPION if made["holdout"]["by"] == "decision" else recsdk.Uniform()  # and where there is no user
        return [policy._replace(share=1 - 0.3), Arm("holdout", 0.3, champion, champion.init(prior(4, 0)))]
    return [policy]
