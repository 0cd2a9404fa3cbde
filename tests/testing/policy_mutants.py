"""Policies that are each broken in one way, for the laws of the kit to catch."""

import copy
import random
import threading
import time
from typing import Any, ClassVar

import attrs
import numpy as np

from recsdk import LinTS, LinUCB, Scores, Uniform, WithFloor, base, explore

FLOORED = WithFloor(policy=LinUCB(), floor=0.2)
VOTING = LinTS(num_draws=4)


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


# update


@attrs.frozen(kw_only=True)
class ReturnsNothing(Sound):
    def update(self, state, interaction):
        self.policy.update(state, interaction)


# shapes


@attrs.frozen(kw_only=True)
class ListsTheProbsOfOneFeature(Sound):
    def probs(self, state, rng, context):
        probs = self.policy.probs(state, rng, context)
        return probs.tolist() if context.features.shape[1] == 1 else probs


# distribution, extremes, floor


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


@attrs.frozen(kw_only=True)
class PromisesMore(Sound):
    """Its probs have a floor of 0.2."""

    floor: float = 0.3


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


# inputs, purity, randomness


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


# spread


@attrs.frozen(kw_only=True)
class IsCertainAtRandom(Sound):
    """Samples the scores once, with little noise, and answers 1 for the best: logged with a propensity of 1 whatever was likely."""

    def probs(self, state, rng, context):
        sampled = state.mean + 0.01 * rng.standard_normal(len(state.mean))
        return explore.greedy(context.features @ sampled, context.mask)


# draws, calibration, importance


@attrs.frozen(kw_only=True)
class LooksAhead(Sound):
    """Copies the generator, looks at the number that the draw will use, and turns the draw to what it favours anyway."""

    def probs(self, state, rng, context):
        scores = np.where(context.mask, context.features @ state.mean, -np.inf)
        best = np.argsort(scores, kind="stable")[-2:]
        if context.mask.sum() < 2 or np.ptp(scores[best]) < 1e-9:
            return explore.uniform(context.mask)
        low, high = np.sort(best)
        probs = np.zeros(len(scores))
        favours_low = best[-1] == low
        probs[low], probs[high] = (0.7, 0.3) if favours_low and ahead(rng) < 0.7 else (0.3, 0.7)
        return probs


def ahead(rng):
    return copy.deepcopy(rng).random()


@attrs.frozen(kw_only=True)
class LooksAheadUnlessWatched(LooksAhead):
    """Is honest in the world in which it is watched while it learns."""

    def probs(self, state, rng, context):
        return (self.policy if is_in_the_world(context) else super()).probs(state, rng, context)


@attrs.frozen(kw_only=True)
class LooksAheadWhenWatched(LooksAhead):
    def probs(self, state, rng, context):
        return (super() if is_in_the_world(context) else self.policy).probs(state, rng, context)


def is_in_the_world(context):
    return context.mask.all() and len(context.mask) == 10 and (context.item == np.arange(10)).all() and context.features.shape[1] == 5


@attrs.frozen(kw_only=True)
class DrawsTheBetterOfTwoEquals(Sound):
    """Logs 0.5 for its favourite and for another, and looks ahead for another on the side that makes it the favourite that is drawn."""

    def probs(self, state, rng, context):
        scores = context.features @ state.mean
        if not is_in_the_world(context):
            return self.policy.probs(state, rng, context)
        favourite = scores.argmax() if 0 < scores.argmax() < 9 else scores[1:-1].argmax() + 1
        other = 9 if ahead(rng) < 0.5 else 0
        return 0.5 * (np.arange(10) == favourite) + 0.5 * (np.arange(10) == other)


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
    def init(self, prior):
        object.__setattr__(self, "count", 0)
        return self.policy.init(prior)

    def update(self, state, interaction):
        object.__setattr__(self, "count", self.count + 1)
        return self.policy.update(state, interaction)

    def probs(self, state, rng, context):
        return explore.mix(self.policy.probs(state, rng, context), context.mask, 1 / (1 + self.count))


@attrs.frozen(kw_only=True)
class CountsInAByte(Sound):
    """Writes its state itself, and the number of its rounds, which makes it greedier, in one byte."""

    def init(self, prior):
        return (self.policy.init(prior), 0.0)

    def probs(self, state, rng, context):
        return explore.mix(self.policy.probs(state[0], rng, context), context.mask, 1 / (1 + state[1]))

    def update(self, state, interaction):
        return (self.policy.update(state[0], interaction), state[1] + interaction.weight)

    def dumps(self, state):
        return bytes([int(2 * state[1]) % 256]) + state[0].mean.tobytes() + state[0].root.tobytes()

    def loads(self, data):
        numbers = np.frombuffer(data[1:])
        dim = int((1 + 4 * len(numbers)) ** 0.5 - 1) // 2
        inner = self.policy.init(np.zeros(dim))._replace(mean=numbers[:dim].copy(), root=numbers[dim:].reshape(dim, dim).copy())
        return (inner, data[0] / 2)

    def close(self, state):
        pass


# learns, regret


@attrs.frozen(kw_only=True)
class LearnsTheOpposite(Sound):
    def update(self, state, interaction):
        return self.policy.update(state, interaction._replace(reward=-interaction.reward))


@attrs.frozen(kw_only=True)
class ExploresFarTooMuch(Sound):
    def probs(self, state, rng, context):
        return explore.mix(self.policy.probs(state, rng, context), context.mask, 0.35)


# commutes, merge


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
class CountsTheOldLess(Sums):
    def update(self, state, interaction):
        kept = 0.999**interaction.weight
        return super().update((kept * state[0], kept * state[1]), interaction)


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


# engines, batch, strictness, settings


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
class WithLoops(Sound):
    """As sound as `Sound`, with loops compiled by Numba."""

    policy: Any = VOTING

    def walk(self, state, rng, log, learn_from):
        return self.policy.walk(state, rng, log, learn_from)


@attrs.frozen(kw_only=True)
class LearnsOtherwiseInLoops(WithLoops):
    def walk(self, state, rng, log, learn_from):
        return self.policy.walk(state, rng, log._replace(reward=(1 + 1e-7) * log.reward), learn_from)


@attrs.frozen(kw_only=True)
class DrawsOtherwiseInLoops(WithLoops):
    def walk(self, state, rng, log, learn_from):
        rng.random()
        return self.policy.walk(state, rng, log, learn_from)


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


# live, processes, threads


@attrs.frozen(kw_only=True, repr=False)
class TellsItsAddress(Sound):
    """Has a setting that another process cannot tell apart from others."""

    source: object = attrs.field(factory=object)


@attrs.frozen(kw_only=True)
class DependsOnTheHash(Sound):
    def probs(self, state, rng, context):
        share = 0.1 + 0.001 * (hash("a seed, as I thought") % 100)
        return explore.mix(self.policy.probs(state, rng, context), context.mask, share)


@attrs.frozen(kw_only=True)
class AsksInAnotherOrder(Sound):
    """Sums what it keeps by name in the order of a set, which is another in each process."""

    def probs(self, state, rng, context):
        named = {f"feature {index}": index for index in range(context.features.shape[1])}
        scores = sum(context.features[:, named[name]] * state.mean[named[name]] for name in set(named))
        return explore.softmax(scores, context.mask, 0.3)


LOCAL = threading.local()


@attrs.frozen(kw_only=True)
class KeepsTheWeightsByThread(Sound):
    def init(self, prior):
        LOCAL.share = 0.1
        return self.policy.init(prior)

    def probs(self, state, rng, context):
        return explore.mix(self.policy.probs(state, rng, context), context.mask, getattr(LOCAL, "share", 0.5))


SCRATCH: dict[str, Any] = {}


@attrs.frozen(kw_only=True)
class SharesScratch(Sound):
    def probs(self, state, rng, context):
        SCRATCH["scores"] = context.features @ state.mean
        if threading.active_count() > 2:
            time.sleep(1e-4)
        return explore.softmax(SCRATCH["scores"], context.mask, 0.3)


# fold


@attrs.frozen(kw_only=True)
class FoldsTheLastFirst(Sound):
    def fold(self, state, log):
        for interaction in [*base.rounds(log)][::-1]:
            state = self.update(state, interaction)
        return state


# memory, speed


HOARD: list[Any] = []


@attrs.frozen(kw_only=True)
class KeepsWhatItSaw(Sound):
    def update(self, state, interaction):
        HOARD.append(interaction.context.features.sum())
        return self.policy.update(state, interaction)


@attrs.frozen(kw_only=True)
class ComparesAllPairs(Sound):
    """Makes room for twenty numbers for each feature of each pair of candidates."""

    def probs(self, state, rng, context):
        num, dim = context.features.shape
        pairs = np.empty((num, num, dim, 20))
        del pairs
        return self.policy.probs(state, rng, context)


@attrs.frozen(kw_only=True)
class IsSlowAtManyCandidates(Sound):
    def probs(self, state, rng, context):
        if context.features.shape == (100, 64):
            time.sleep(0.055)
        return self.policy.probs(state, rng, context)


# scores


@attrs.frozen(kw_only=True)
class Explains(Sound):
    """As sound as `Sound`, and says what it expects."""

    def scores(self, state, context):
        return self.policy.scores(state, context)


@attrs.frozen(kw_only=True)
class PromisesLess(Explains):
    def scores(self, state, context):
        mean, bonus = super().scores(state, context)
        return Scores(mean + bonus, -bonus)


@attrs.frozen(kw_only=True)
class ComparesWithTheFirst(Explains):
    def scores(self, state, context):
        mean, bonus = super().scores(state, context)
        return Scores(mean - mean[0], bonus)


SOUND = (Sound(), Sums(), Differences(), OnBoth(), WithLoops())

ALONE = {
    "declaration": (ForgetsTheComma(), EqualsOnlyItself()),
    "shapes": (ListsTheProbsOfOneFeature(),),
    "extremes": (Overflows(),),
    "floor": (PromisesMore(),),
    "order": (FavoursEarlyPlaces(), FavoursEarlyPlacesAtRandom()),
    "padding": (MeasuresPadding(),),
    "ties": (TakesTheOldestOfTheBest(),),
    "inputs": (KeepsTheStateInThePrior(),),
    "randomness": (AdvancesTheGlobalGenerator(),),
    "spread": (IsCertainAtRandom(),),
    "draws": (LooksAheadUnlessWatched(),),
    "importance": (DrawsTheBetterOfTwoEquals(),),
    "fold": (FoldsTheLastFirst(),),
    "weight": (IgnoresTheWeight(),),
    "chosen": (LearnsFromTheOthers(),),
    "snapshot": (CountsInAByte(),),
    "merge": (AddsThePriorTwice(), TakesTheLarger(), WeighsHalf()),
    "forget": (SubtractsTheMomentsOnly(), ForgetsWithoutWeight()),
    "scores": (PromisesLess(), ComparesWithTheFirst()),
    "engines": (LearnsOtherwiseOnJax(), LearnsOtherwiseInLoops(), DrawsOtherwiseInLoops()),
    "batch": (AnswersOtherwiseOnJax(),),
    "strictness": (ReliesOnPromotion(), ReliesOnRankPromotion()),
    "settings": (TurnsOn64Bits(),),
    "live": (TellsItsAddress(),),
    "processes": (DependsOnTheHash(), AsksInAnotherOrder()),
    "threads": (KeepsTheWeightsByThread(), SharesScratch()),
    "learns": (LearnsTheOpposite(), Uniform()),
    "regret": (ExploresFarTooMuch(),),
    "memory": (KeepsWhatItSaw(), ComparesAllPairs()),
    "speed": (IsSlowAtManyCandidates(),),
}
"""What no other law catches."""

FIRST = {
    "declaration": (LearnsFromSome(),),
    "update": (ReturnsNothing(),),
    "shapes": (AnswersInFloat32(),),
    "distribution": (SpreadsOverPadding(), Rounds(), GoesBelowZero()),
    "order": (TakesTheFirstOfTheBest(),),
    "inputs": (WritesToPadding(),),  # which the live loop refuses too
    "purity": (LearnsWhileAnswering(), ReusesABuffer()),
    "randomness": (ReadsTheGlobalGenerator(),),
    "draws": (LooksAhead(),),
    "calibration": (LooksAheadWhenWatched(),),
    "fold": (KeepsTheCurrentStateToItself(),),
    "snapshot": (CountsBesideTheState(),),
    "commutes": (CountsTheOldLess(),),
}
"""What others catch too, after the law that says what is wrong."""
