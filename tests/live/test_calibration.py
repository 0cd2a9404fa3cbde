"""Are the propensities in the ledger true? Measured on what the live loop wrote, through reopenings and a changing catalogue."""

import hashlib
import json
from typing import NamedTuple

import numpy as np
import pytest

import recsdk
from recsdk.base import Context, decide_slate, learn
from recsdk.ledger.sqlite import Sqlite
from recsdk.live.checking import check_ledger
from recsdk.live.features import prior
from recsdk.live.honesty import Honesty
from recsdk.live.identity import identity
from recsdk.live.intake import canonical
from recsdk.live.interactions import interaction
from recsdk.live.recommender import Recommender
from recsdk.policies.wrappers import WithFloor
from tests.live.shop import TOPICS, Clock, TopicTally, crash

NUM_DECISIONS = 3000
SESSION = 500
SIZE = 2
SALT = bytes(range(32))
POLICIES = [
    WithFloor(policy=recsdk.LinTS(), floor=0.05),
    WithFloor(policy=recsdk.LinUCB(), floor=0.3),
    WithFloor(policy=recsdk.EpsilonGreedy(epsilon=0.1), floor=0.05),
]
FACTORS = {topic: {other: 0.1 + 0.6 * (topic == other) for other in TOPICS} for topic in TOPICS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that was opened six times by three policies, closed or killed, with items going and coming all the time."""
    path, rng, clock = tmp_path_factory.mktemp("shop"), np.random.default_rng(3), Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("secrets.token_bytes", lambda size: SALT)
        for start in range(0, NUM_DECISIONS, SESSION):
            wrapped = POLICIES[start // SESSION % 3]
            shop = Recommender.open(
                path,
                items=[{"id": f"{topic}-{k}", "topic": topic, "price": k} for k in range(4) for topic in TOPICS],
                scorers=["recency", same_topic, TopicTally()],
                policy=wrapped.policy,
                floor=wrapped.floor,
                log_features="all",
                snapshot_every=700,
                clock=clock,
            )
            for number in range(start, start + SESSION):
                visit(shop, number, rng)
            crash(shop) if start % (2 * SESSION) else shop.close()
    return path


def same_topic(request, candidates):
    return candidates.features["topic"] == request.features["likes"]


def visit(shop, number, rng):
    likes = TOPICS[rng.integers(3)]
    named = None if number % 7 else rng.choice(sorted(held(shop)), 2 + number % 4, replace=False).tolist()
    slate = shop.recommend({"likes": likes}, size=SIZE, candidates=named, decision_id=f"d{number}")
    clicks = {item: float(rng.random() < FACTORS[likes][item.split("-")[0]]) for item in slate.ids}
    if number % 10:  # some are never rewarded
        shop.reward_slate(slate.decision_id, clicks)
    if number % 40 == 0:
        shop.remove_items(rng.choice(sorted(held(shop)), 2, replace=False).tolist())
    if number % 40 == 20:
        gone = sorted(set(shop.catalogue.items.ids) - held(shop))
        shop.add_items([{"id": gone[0], "topic": gone[0].split("-")[0], "price": 0}])
        shop.add_items([{"id": f"{TOPICS[number % 3]}-new-{number}", "topic": TOPICS[number % 3], "price": number}])


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
    found = Draws([], [], [])
    for record in records:
        left = np.ones(len(record.slots), bool)
        for action, probs in zip(record.action, record.probs, strict=True):
            assert left[action]
            assert not probs[~left].any()
            found.probs.append(probs[left])
            found.slots.append(record.slots[left])
            found.action.append(int(left[:action].sum()))
            left[action] = False
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
        worst = max(worst, abs(np.mean(weights) - 1) / (np.std(weights) / np.sqrt(len(weights))))
    return worst


def test_the_log_is_of_the_kind_that_was_meant(records, draws):
    assert len(records) == NUM_DECISIONS
    assert len(draws.action) == NUM_DECISIONS * SIZE
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


@pytest.mark.parametrize("lie", [without_floor, rounded, swapped, of_the_best])
def test_a_ledger_with_other_propensities_would_be_found_out(draws, lie):
    told = draws._replace(probs=[lie(probs, action) for probs, action in zip(draws.probs, draws.action, strict=True)])
    assert max(worst_bin(told), worst_weight(told)) > 8


def counted(draws):
    honesty = Honesty()
    for probs, action, slots in zip(*draws, strict=True):
        honesty.add(probs, action, slots.astype(np.int64))
    return honesty


def test_the_check_of_a_ledger_finds_true_propensities_and_nothing_wrong(folder, draws):
    findings = {finding.check: finding for finding in check_ledger(folder)}
    assert [finding for finding in findings.values() if finding.num_problems] == []
    assert findings["propensities"].num == counted(draws).num_draws == len(draws.action)
    assert findings["decisions"].num == NUM_DECISIONS


@pytest.mark.parametrize("lie", [without_floor, rounded, swapped, of_the_best])
def test_the_check_of_a_ledger_finds_each_lie(draws, lie):
    told = draws._replace(probs=[lie(probs, action) for probs, action in zip(draws.probs, draws.action, strict=True)])
    assert counted(told).lies()


def test_every_decision_can_be_made_again_from_the_ledger_alone(folder, records):
    ledger = Sqlite().open(folder)
    salt, outcomes = ledger.get("salt"), list(ledger.outcomes())
    ledger.close()
    assert salt == SALT
    states = {canonical(identity(policy)): [policy, policy.init(prior(3, 0)), 0] for policy in POLICIES}
    for record in records:
        made = json.loads(record.parts)
        assert made["draw"] == "blake2b-philox-1"
        policy, state, learned = states[canonical(made["policy"])]
        for reward, rewarded in outcomes[learned : record.num_learned]:
            state = learn(policy, state, interaction(policy, rewarded, reward))
        states[canonical(made["policy"])][1:] = state, record.num_learned
        key = hashlib.blake2b(record.decision_id.encode(), key=salt, digest_size=16).digest()
        rng = np.random.Generator(np.random.Philox(key=np.frombuffer(key, "<u8")))
        context = Context(record.features.astype(np.float64), np.ones(len(record.slots), bool), record.slots.astype(np.int64))
        again = decide_slate(policy, state, rng, context, SIZE)
        np.testing.assert_array_equal(again.probs, record.probs)
        np.testing.assert_array_equal(again.action, record.action)
