"""A policy over a whole catalogue: it walks a tree of codes to one item, and knows the probability of where it came out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple

import attrs
import numpy as np

from recsdk.base import Context, Interaction, Policy, decide, learn
from recsdk.checks import check_interaction, check_probs, check_reward, number
from recsdk.errors import InvalidProbs, InvalidValue
from recsdk.live.features import phi, prior
from recsdk.semantic.tree import Node, Tree, branches, child, path, root


class Walk(NamedTuple):
    """A draw of one item, with all that is needed to learn from it and to evaluate it.

    Attributes:
        item: i64[], slot of the item.
        propensity: f64[], the probability with which it was drawn among all items, in (0, 1]; the product of `steps`.
        path: i64[levels + 1], what `policy` knew each step as: the number that the codes up to there make, and at last the slot.
        steps: f64[levels + 1], the probability of each given those before.
        features: f32[levels + 1, D], phi of each, as the policy saw it.
        version: i64[], of the tree that was walked.

    Example:
        >>> import recsdk
        >>> from recsdk.semantic import Codebook, TreePolicy, build
        >>> tree = build(Codebook(np.array([[[-1.0], [1.0]]], np.float32)), np.array([[0.9], [-1.1], [1.2]], np.float32))
        >>> policy = TreePolicy(policy=recsdk.Uniform())
        >>> walk = policy.decide(policy.init(tree), np.random.default_rng(0), tree, np.ones(1, np.float32))
        >>> walk.propensity == walk.steps.prod(), walk.path[-1] == walk.item
        (np.True_, np.True_)
    """

    item: np.ndarray
    propensity: np.ndarray
    path: np.ndarray
    steps: np.ndarray
    features: np.ndarray
    version: np.ndarray


@attrs.frozen(kw_only=True)
class TreePolicy:
    """Draws one item of a whole catalogue in a few small decisions: a code, the code after it, ..., and an item of that word.

    Every decision is one of `policy`, among the codes that lead to an item that may be shown; phi of a code is that of its centroid. Each
    level has a state of its own, which learns what going there has earned. The walk as a whole is mixed with a share `floor` of uniform
    exploration over all items, not over codes: that bounds the importance weights by the number of items over `floor`.

    To `policy` the number of all codes up to a branch is its item, below size^level: one code under two others is two items. A policy that
    keeps something for each item needs places for the branches of the last code: where they are fewer, branches that meet take turns.

    Use it where a retriever would leave out most of the catalogue, and you want to find and to measure what it leaves out. For choosing
    among some hundred candidates the live loop is better: it looks at each.

    Attributes:
        policy: decides at each step; one that learns from the chosen candidate alone, on NumPy.
        floor: share of uniform exploration over items, in (0, 1].

    Example:
        >>> import recsdk
        >>> from recsdk.semantic import TreePolicy, build, fit
        >>> vectors = np.random.default_rng(0).standard_normal((1000, 4)).astype(np.float32)
        >>> tree, user = build(fit(vectors, levels=2, size=8), vectors), np.ones(4, np.float32)
        >>> policy = TreePolicy(policy=recsdk.LinUCB())
        >>> state = policy.init(tree)
        >>> walk = policy.decide(state, np.random.default_rng(0), tree, user, excluded=[3, 5])
        >>> state = policy.update(state, walk, reward=1.0)
        >>> policy.probability(state, np.random.default_rng(0), tree, user, item=3, excluded=[3, 5])
        0.0
    """

    policy: Policy[Any] = attrs.field()
    floor: float = attrs.field(default=0.05, validator=number(above=0, at_most=1))

    @policy.validator
    def _check_policy(self, field: Any, policy: Any) -> None:
        del field
        if "numpy" not in policy.runs_on or policy.learns_from != "chosen":
            raise InvalidValue(f"TreePolicy.policy must run on NumPy and learn from the chosen candidate alone, got {policy!r}.")

    def init(self, tree: Tree) -> tuple[Any, ...]:
        """Returns the state before any reward, one of `policy` for each step: all believe in the inner product of user and item."""
        return tuple(self.policy.init(prior(0, tree.vectors.shape[1])) for _ in range(tree.book.levels + 1))

    def decide(
        self, state: tuple[Any, ...], rng: np.random.Generator, tree: Tree, user: np.ndarray, *, excluded: Iterable[int] = ()
    ) -> Walk:
        """Draws an item. It takes time by levels x codes and the number of items that share a word, not by the number of items.

        Args:
            state: from `init` or `update`; not consumed.
            rng: for the policy and the draws.
            tree: the items.
            user: f32[dim], in the space of the items' vectors.
            excluded: slots that may not be drawn, as seen ones, or those that a rule forbids. Their probability goes to the others, at
                each step in proportion. It takes time by their number.

        Raises:
            EmptyCandidates: when no item is left.
            InvalidValue: a user of another width or not finite, or a slot that no item ever had.
            InvalidProbs: an answer of `policy` that is not a distribution.
        """
        steps = self._walked(state, rng, tree, user, root(tree, excluded), None)
        names, chances, features = (np.array(column) for column in zip(*steps, strict=True))
        return Walk(names[-1], chances.prod(), names, chances, features, tree.version)

    def steps(
        self, state: tuple[Any, ...], rng: np.random.Generator, tree: Tree, user: np.ndarray, item: int, *, excluded: Iterable[int] = ()
    ) -> np.ndarray:
        """Returns f64[levels + 1], the probabilities with which `decide` takes the steps to an item, zeros for one that may not be drawn.

        For a policy that draws random numbers itself, as Thompson sampling does, these are probabilities given its numbers: those of a
        walk, for an `rng` that stands where that of the walk stood.

        Args:
            state: not consumed.
            rng: for the policy.
            tree: the items.
            user: f32[dim].
            item: slot.
            excluded: slots that may not be drawn.

        Raises:
            EmptyCandidates, InvalidValue, InvalidProbs: as `decide`.
        """
        if not 0 <= item < len(tree.words):
            raise InvalidValue(f"item must be a slot in [0, {len(tree.words) - 1}], got {item!r}.")
        node = root(tree, excluded)
        if not tree.active[item] or item in node.hidden:
            return np.zeros(len(state))
        return np.array([step.chance for step in self._walked(state, rng, tree, user, node, path(tree, int(item)))])

    def probability(
        self, state: tuple[Any, ...], rng: np.random.Generator, tree: Tree, user: np.ndarray, item: int, *, excluded: Iterable[int] = ()
    ) -> float:
        """Returns the probability with which `decide` draws an item: the product of its `steps`, whose arguments and errors it has."""
        return float(self.steps(state, rng, tree, user, item, excluded=excluded).prod())

    def first(
        self, state: tuple[Any, ...], rng: np.random.Generator, tree: Tree, user: np.ndarray, *, excluded: Iterable[int] = ()
    ) -> np.ndarray:
        """Returns f64[size], the probability that the item drawn has each first code, for models of the reward by it: see `as_slates`.

        Arguments and errors are those of `decide`.
        """
        node = root(tree, excluded)
        choice = self._choice(state[0], rng, tree, node, _user(tree, user), 1.0, node.num_items)
        probs = np.zeros(tree.book.size)
        probs[choice.names] = choice.probs
        return probs

    def update(self, state: tuple[Any, ...], walk: Walk, reward: float, *, weight: float = 1.0) -> tuple[Any, ...]:
        """Returns the state after the reward of a walk; consumes `state`. The same walks in the same order give the same state, bit by bit.

        Raises:
            InvalidReward, InvalidPropensity, InvalidContext, InvalidValue: a walk, reward or weight that is none; `state` is unchanged.
        """
        check_reward(reward)
        if len(walk.steps) != len(state):
            raise InvalidValue(f"walk must have {len(state)} steps, got {len(walk.steps)}.")
        rounds = []
        for name, chance, row in zip(walk.path, walk.steps, walk.features, strict=True):
            context = Context(row[None].astype(np.float64), np.ones(1, bool), np.array([name], np.int64))
            rounds.append(Interaction(context, np.int64(0), np.float64(reward), chance, np.float64(weight)))
            check_interaction(rounds[-1])  # all of them before the first is learned
        return tuple(learn(self.policy, part, each) for part, each in zip(state, rounds, strict=True))

    def _walked(
        self, state: tuple[Any, ...], rng: np.random.Generator, tree: Tree, user: np.ndarray, node: Node, wanted: list[int] | None
    ) -> list[_Step]:
        """Returns the steps from a node to an item: drawn ones, or those that are wanted."""
        user, total, walked, steps = _user(tree, user), node.num_items, 1.0, list[_Step]()
        for level, part in enumerate(state):
            names, context, own, probs = self._choice(part, rng, tree, node, user, walked, total)
            if wanted is None:
                action, chance, _ = decide(_GIVEN, probs, rng, context)
            else:
                rng.random()  # in place of the draw, so that the next step has the random numbers that it would have
                action = names.searchsorted(wanted[level])
                chance = np.minimum(probs[action], 1.0)
            steps.append(_Step(context.item[action], chance, context.features[action].astype(np.float32)))
            walked *= float(own[action])
            if level < tree.book.levels:
                node = child(tree, node, int(names[action]))
        return steps

    def _choice(self, part: Any, rng: np.random.Generator, tree: Tree, node: Node, user: np.ndarray, walked: float, total: int) -> _Choice:
        """Returns what a walk chooses from at a node that the policy alone reaches with the probability `walked`."""
        names, num_items, vectors = branches(tree, node)
        item = names if node.level == tree.book.levels else node.word * tree.book.size + names
        context = Context(phi(user, vectors, np.zeros((len(names), 0), np.float32)), np.ones(len(names), bool), item)
        own = self.policy.probs(part, rng, context)
        if not isinstance(own, np.ndarray):
            raise InvalidProbs(f"probs must be float64[{len(names)}], got {type(own).__name__}.")
        check_probs(own, own.sum(), context.mask)
        reached = (1 - self.floor) * walked * own + self.floor * num_items / total
        return _Choice(names, context, own, reached / ((1 - self.floor) * walked + self.floor * node.num_items / total))


class _Step(NamedTuple):
    name: np.int64
    chance: np.float64
    features: np.ndarray


class _Choice(NamedTuple):
    """What a walk chooses from, codes or slots; the policy's context and distribution; and the one that is drawn from."""

    names: np.ndarray
    context: Context
    own: np.ndarray
    probs: np.ndarray


@attrs.frozen(kw_only=True)
class _Given:
    """A policy whose state is the distribution itself."""

    runs_on: ClassVar[tuple[str, ...]] = ("numpy",)
    learns_from: ClassVar[str] = "chosen"

    def init(self, prior: Any) -> Any:
        return prior

    def probs(self, state: Any, rng: Any, context: Context) -> Any:
        del rng, context
        return state

    def update(self, state: Any, interaction: Any) -> Any:
        del interaction
        return state


_GIVEN = _Given()


def _user(tree: Tree, user: Any) -> np.ndarray:
    array, dim = np.asarray(user), tree.vectors.shape[1]
    if array.dtype != np.float32 or array.shape != (dim,) or not np.isfinite(array).all():
        raise InvalidValue(f"user must be float32[{dim}], finite, got {array.dtype}{list(array.shape)}: {array!r:.200}.")
    return array
