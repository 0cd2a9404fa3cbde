"""Each law has a broken policy that it catches, most of them alone; a law that catches nothing is decoration."""

import copy
import random
import unittest
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest

from recsdk import LinUCB, Uniform, WithFloor, base, explore, testing
from recsdk import _replay as replay_module
from recsdk.testing import honesty

FLOORED = WithFloor(policy=LinUCB(), floor=0.2)


@attrs.frozen(kw_only=True)
class Sound:
    """Nothing is wrong with this policy; a mutant differs from it in one method."""

    runs_on: ClassVar[Any] = ("numpy",)
    learns_from: ClassVar[Any] = "chosen"

    policy: Any = FLOORED

    def init(self, prior):
        return self.policy.init(prior)

    def probs(self, state, rng, context):
        return self.policy.probs(state, rng, context)

    def update(self, state, interaction):
        return self.policy.update(state, interaction)


def softmax(state, context, temperature=0.3):
    return explore.softmax(context.features @ state.mean, context.mask, temperature)


# declaration


@attrs.frozen(kw_only=True)
class ForgetsTheComma(Sound):
    runs_on = "numpy"


@attrs.frozen(kw_only=True)
class LearnsFromSome(Sound):
    learns_from = "some"


@attrs.frozen(kw_only=True, eq=False)
class EqualsOnlyItself(Sound):
    __eq__ = object.__eq__
    __hash__ = object.__hash__


# distribution


@attrs.frozen(kw_only=True)
class Overflows(Sound):
    def probs(self, state, rng, context):
        with np.errstate(all="ignore"):
            weights = np.where(context.mask, np.exp(10 * context.features @ state.mean), 0)
            return weights / weights.sum()


@attrs.frozen(kw_only=True)
class SpreadsOverPadding(Sound):
    def probs(self, state, rng, context):
        return explore.softmax(context.features @ state.mean, np.ones_like(context.mask), 0.3)


@attrs.frozen(kw_only=True)
class Rounds(Sound):
    def probs(self, state, rng, context):
        return np.round(softmax(state, context), 3)


@attrs.frozen(kw_only=True)
class AnswersInFloat32(Sound):
    def probs(self, state, rng, context):
        return softmax(state, context).astype(np.float32)


@attrs.frozen(kw_only=True)
class GoesBelowZero(Sound):
    def probs(self, state, rng, context):
        return 1.5 * self.policy.probs(state, rng, context) - 0.5 * explore.uniform(context.mask)


# order, padding, ties


@attrs.frozen(kw_only=True)
class FavoursEarlyPlaces(Sound):
    def probs(self, state, rng, context):
        scores = context.features @ state.mean
        differ = np.ptp(scores[context.mask]) > 1e-9
        return explore.softmax(scores - 0.1 * differ * (np.cumsum(context.mask) - 1), context.mask, 0.3)


@attrs.frozen(kw_only=True)
class TakesTheFirstOfTheBest(Sound):
    def probs(self, state, rng, context):
        best = np.where(context.mask, context.features @ state.mean, -np.inf).argmax()
        return explore.mix((np.arange(len(context.mask)) == best) * 1.0, context.mask, 0.2)


@attrs.frozen(kw_only=True)
class MeasuresPadding(Sound):
    def probs(self, state, rng, context):
        scores = context.features @ state.mean
        return explore.softmax(scores, context.mask, 0.05 + 0.1 * np.abs(scores).max())


@attrs.frozen(kw_only=True)
class TakesTheOldestOfTheBest(Sound):
    def probs(self, state, rng, context):
        best = self.policy.policy.probs(state, rng, context) > 0
        oldest = np.where(best, context.item, np.iinfo(np.int64).max).argmin()
        return explore.mix((np.arange(len(context.mask)) == oldest) * 1.0, context.mask, 0.2)


@attrs.frozen(kw_only=True)
class FavoursEarlyPlacesAtRandom(Sound):
    """Draws a number per candidate, so that it can be judged in distribution only."""

    def probs(self, state, rng, context):
        scores = context.features @ state.mean + 0.1 * rng.standard_normal(len(context.mask))
        scores = scores - 0.1 * (np.ptp(context.features[context.mask], axis=0).max() > 1e-9) * (np.cumsum(context.mask) - 1)
        return explore.mix(explore.greedy(scores, context.mask), context.mask, 0.2)


# purity


@attrs.frozen(kw_only=True)
class WritesToPadding(Sound):
    def probs(self, state, rng, context):
        context.features[~context.mask] = 0
        return self.policy.probs(state, rng, context)


@attrs.frozen(kw_only=True)
class KeepsTheStateInThePrior(Sound):
    def init(self, prior):
        return self.policy.init(prior)._replace(mean=prior)

    def update(self, state, interaction):
        new = self.policy.update(state, interaction)
        state.mean[:] = new.mean
        return new


@attrs.frozen(kw_only=True)
class LearnsWhileAnswering(Sound):
    def probs(self, state, rng, context):
        state.root[0, 0] *= 1 + 1e-12
        return self.policy.probs(state, rng, context)


@attrs.frozen(kw_only=True)
class ReadsTheGlobalGenerator(Sound):
    def probs(self, state, rng, context):
        share = 0.1 + 0.1 * (np.random.get_state()[1][0] % 7) / 7  # noqa: NPY002
        return explore.mix(softmax(state, context), context.mask, share)


@attrs.frozen(kw_only=True)
class AdvancesTheGlobalGenerator(Sound):
    def probs(self, state, rng, context):
        random.random()
        return self.policy.probs(state, rng, context)


BUFFER = np.zeros(100)


@attrs.frozen(kw_only=True)
class ReusesABuffer(Sound):
    def probs(self, state, rng, context):
        buffer = BUFFER[: len(context.mask)]
        buffer[:] = softmax(state, context)
        return buffer


# honesty


@attrs.frozen(kw_only=True)
class LooksAhead(Sound):
    """Copies the generator, looks at the number that the draw will use, and turns the draw to what it favours anyway."""

    def probs(self, state, rng, context):
        best = np.argsort(np.where(context.mask, context.features @ state.mean, -np.inf), kind="stable")[-2:]
        if context.mask.sum() < 2 or np.ptp(context.features[best] @ state.mean) < 1e-9:
            return explore.uniform(context.mask)
        low, high = np.sort(best)
        ahead = copy.deepcopy(rng).random()
        probs = np.zeros(len(context.mask))
        favours_low = best[-1] == low
        probs[low], probs[high] = (0.7, 0.3) if favours_low and ahead < 0.7 else (0.3, 0.7)
        return probs


# fold


MEMORY: dict[str, Any] = {}


@attrs.frozen(kw_only=True)
class KeepsTheCurrentStateToItself(Sound):
    def init(self, prior):
        MEMORY.clear()
        return self.policy.init(prior)

    def update(self, state, interaction):
        MEMORY["state"] = self.policy.update(MEMORY.get("state", state), interaction)
        return MEMORY["state"]


# weight, chosen, snapshot, refusal


@attrs.frozen(kw_only=True)
class IgnoresTheWeight(Sound):
    def update(self, state, interaction):
        return self.policy.update(state, interaction._replace(weight=np.float64(1)))


@attrs.frozen(kw_only=True)
class LearnsFromTheOthers(Sound):
    def update(self, state, interaction):
        context = interaction.context
        centred = context._replace(features=context.features - 0.1 * context.features[context.mask].mean(axis=0))
        return self.policy.update(state, interaction._replace(context=centred))


@attrs.frozen(kw_only=True, slots=False)
class CountsBesideTheState(Sound):
    def update(self, state, interaction):
        object.__setattr__(self, "count", getattr(self, "count", 0) + 1)
        return self.policy.update(state, interaction)

    def probs(self, state, rng, context):
        return explore.mix(self.policy.probs(state, rng, context), context.mask, 1 / (1 + getattr(self, "count", 0)))


@attrs.frozen(kw_only=True)
class LosesTheMean(Sound):
    """Writes its state itself, and forgets half of it."""

    def dumps(self, state):
        return state.root.tobytes()

    def loads(self, data):
        root = np.frombuffer(data)
        dim = int(len(root) ** 0.5)
        return self.policy.init(np.zeros(dim))._replace(root=root.reshape(dim, dim))

    def close(self, state):
        pass


# learns


@attrs.frozen(kw_only=True)
class LearnsTheOpposite(Sound):
    def update(self, state, interaction):
        return self.policy.update(state, interaction._replace(reward=-interaction.reward))


# merge


@attrs.frozen(kw_only=True)
class Sums:
    """Ridge regression kept as sums, which add up: a sound policy that offers merge and weigh."""

    runs_on: ClassVar[Any] = ("numpy",)
    learns_from: ClassVar[Any] = "chosen"

    def init(self, prior):
        return (np.zeros((len(prior), len(prior))), np.zeros(len(prior)))

    def probs(self, state, rng, context):
        mean = np.linalg.solve(state[0] + np.eye(len(state[1])), state[1])
        return explore.mix(explore.greedy(context.features @ mean, context.mask), context.mask, 0.2)

    def update(self, state, interaction):
        context, action, reward, _, weight = interaction
        x = context.features[action]
        return (state[0] + weight * np.outer(x, x), state[1] + weight * reward * x)

    def merge(self, a, b):
        return (a[0] + b[0], a[1] + b[1])

    def weigh(self, state, weight):
        return (weight * state[0], weight * state[1])


@attrs.frozen(kw_only=True)
class AddsThePriorTwice(Sums):
    def init(self, prior):
        return (np.eye(len(prior)), np.zeros(len(prior)))


@attrs.frozen(kw_only=True)
class TakesTheLarger(Sums):
    def merge(self, a, b):
        return a if np.trace(a[0]) > np.trace(b[0]) else b


@attrs.frozen(kw_only=True)
class WeighsHalf(Sums):
    def weigh(self, state, weight):
        return (weight * state[0], state[1])


# forget


@attrs.frozen(kw_only=True)
class Differences(Sums):
    """As sound as `Sums`, and states can be taken apart."""

    def subtract(self, whole, part):
        return (whole[0] - part[0], whole[1] - part[1])

    def forget(self, state, interaction):
        return self.update(state, interaction._replace(weight=-interaction.weight))


@attrs.frozen(kw_only=True)
class SubtractsTheMomentsOnly(Differences):
    def subtract(self, whole, part):
        return (whole[0], whole[1] - part[1])


@attrs.frozen(kw_only=True)
class ForgetsWithoutWeight(Differences):
    def forget(self, state, interaction):
        return self.update(state, interaction._replace(weight=-1.0))


# engines, strictness, settings


@attrs.frozen(kw_only=True)
class OnBoth(Sound):
    """As sound as `Sound`, on both engines."""

    runs_on = ("numpy", "jax")


@attrs.frozen(kw_only=True)
class LearnsOtherwiseOnJax(OnBoth):
    def update(self, state, interaction):
        more = 1.0 if isinstance(interaction.context.features, np.ndarray) else 1 + 1e-7
        return self.policy.update(state, interaction._replace(reward=more * interaction.reward))


@attrs.frozen(kw_only=True)
class AnswersOtherwiseOnJax(OnBoth):
    def probs(self, state, rng, context):
        share = 0.2 if isinstance(context.features, np.ndarray) else 0.2 + 1e-7
        return explore.mix(self.policy.probs(state, rng, context), context.mask, share)


@attrs.frozen(kw_only=True)
class ReliesOnPromotion(OnBoth):
    def probs(self, state, rng, context):
        probs = self.policy.probs(state, rng, context)
        return probs * (context.item * 0 + 1)


@attrs.frozen(kw_only=True)
class ReliesOnRankPromotion(OnBoth):
    def probs(self, state, rng, context):
        shifted = context._replace(features=context.features + 0 * state.mean)
        return self.policy.probs(state, rng, shifted)


@attrs.frozen(kw_only=True)
class TurnsOn64Bits(OnBoth):
    def init(self, prior):
        import jax

        jax.config.update("jax_enable_x64", True)
        return self.policy.init(prior)


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch):
    monkeypatch.setattr(honesty, "NUM_FROZEN", 600)
    monkeypatch.setattr(honesty, "NUM_LEARNING", 600)


@pytest.fixture(autouse=True)
def settings_as_before():
    import jax

    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


def failing_laws(policy):
    """Returns the laws that refuse a policy, and those that could not be tried since `decide` refused it before."""
    laws, stopped = set(), set()
    for check in testing.POLICY_CHECKS:
        law = check.__name__.removeprefix("check_")
        try:
            check(policy)
        except unittest.SkipTest:
            continue
        except AssertionError as error:
            laws.add(str(error).partition(":")[0])
        except Exception:
            stopped.add(law)
    return laws, stopped


SOUND = [Sound(), Sums(), Differences(), OnBoth()]


@pytest.mark.parametrize("policy", SOUND, ids=lambda policy: type(policy).__name__)
def test_a_sound_policy_breaks_no_law(policy):
    assert failing_laws(policy) == (set(), set())


ALONE = [
    ("declaration", ForgetsTheComma()),
    ("declaration", LearnsFromSome()),
    ("declaration", EqualsOnlyItself()),
    ("distribution", Overflows()),
    ("order", FavoursEarlyPlaces()),
    ("order", FavoursEarlyPlacesAtRandom()),
    ("padding", MeasuresPadding()),
    ("ties", TakesTheOldestOfTheBest()),
    ("purity", WritesToPadding()),
    ("purity", KeepsTheStateInThePrior()),
    ("purity", ReadsTheGlobalGenerator()),
    ("purity", AdvancesTheGlobalGenerator()),
    ("honesty", LooksAhead()),
    ("fold", KeepsTheCurrentStateToItself()),
    ("weight", IgnoresTheWeight()),
    ("chosen", LearnsFromTheOthers()),
    ("snapshot", CountsBesideTheState()),
    ("merge", AddsThePriorTwice()),
    ("merge", TakesTheLarger()),
    ("merge", WeighsHalf()),
    ("forget", SubtractsTheMomentsOnly()),
    ("forget", ForgetsWithoutWeight()),
    ("engines", LearnsOtherwiseOnJax()),
    ("engines", AnswersOtherwiseOnJax()),
    ("strictness", ReliesOnPromotion()),
    ("strictness", ReliesOnRankPromotion()),
    ("settings", TurnsOn64Bits()),
    ("learns", LearnsTheOpposite()),
    ("learns", Uniform()),
]


@pytest.mark.parametrize(("law", "mutant"), ALONE, ids=lambda value: value if isinstance(value, str) else type(value).__name__)
def test_a_mutant_is_caught_by_its_law_alone(law, mutant):
    assert failing_laws(mutant) == ({law}, set())


AMONG_OTHERS = [
    ("distribution", SpreadsOverPadding()),
    ("distribution", Rounds()),
    ("distribution", AnswersInFloat32()),
    ("distribution", GoesBelowZero()),
    ("order", TakesTheFirstOfTheBest()),
    ("ties", TakesTheFirstOfTheBest()),
    ("purity", LearnsWhileAnswering()),
    ("purity", ReusesABuffer()),
    ("honesty", ReusesABuffer()),
    ("snapshot", LosesTheMean()),
]


@pytest.mark.parametrize(("law", "mutant"), AMONG_OTHERS, ids=lambda value: value if isinstance(value, str) else type(value).__name__)
def test_a_mutant_is_caught_by_its_law_among_others(law, mutant):
    assert law in failing_laws(mutant)[0]


@pytest.mark.parametrize("checker", [(base, "check_interaction"), (replay_module, "check_log")], ids=["learn", "replay"])
def test_a_loop_that_refuses_nothing_is_caught_by_refusal(checker, monkeypatch):
    monkeypatch.setattr(*checker, lambda *arguments: None)
    with np.errstate(invalid="ignore"), pytest.raises(AssertionError, match=r"refusal: .* must raise .*"):
        dict(by_law())["refusal"](Sound())


def test_a_loop_that_learns_before_it_refuses_is_caught_by_refusal(monkeypatch):
    checked = base.learn

    def learn(policy, state, interaction):
        state.mean[:] += 0.1
        return checked(policy, state, interaction)

    monkeypatch.setattr(base, "learn", learn)
    with pytest.raises(AssertionError, match=r"refusal: .* must leave the state as it was"):
        dict(by_law())["refusal"](Sound())


def by_law():
    return [(check.__name__.removeprefix("check_"), check) for check in testing.POLICY_CHECKS]


def test_every_law_has_a_mutant_that_it_alone_catches():
    assert {law for law, _ in by_law()} - {law for law, _ in ALONE} == {"refusal"}  # which is about the loop, and tried above


def test_a_failure_names_the_law_the_policy_and_the_input():
    wanted = r"distribution: Overflows\(.*\) on 1 candidates of 1 features, huge, after 40 updates: probs must be finite, got \[nan\]"
    with pytest.raises(AssertionError, match=wanted):
        dict(by_law())["distribution"](Overflows())
