"""The contract of recsdk: the records that its parts exchange, and the protocols that its parts implement.

A plugin author needs this page only.

In the live loop several threads may call `score`, `encode_requests`, `encode_items` and `search` at once, with one state: they must be
functions of their arguments, and a part that keeps something beside its state, such as a connection, guards it itself. One thread at a time
calls a policy, a part that is `Native`, or a scorer that is `Online`; and nothing is searched while `Retriever.add` is called. An answer
that is late, see `recsdk.Fallback`, may still be under way at the next call: it is thrown away, so it may read what changes meanwhile.

Shapes: T rounds, B batch, K candidates, N items, D features, L slate. A leading T on an `Interaction` makes it a log.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np

from recsdk.checks import check_context, check_interaction, check_probs
from recsdk.errors import InvalidAnswer, InvalidProbs, InvalidValue, TooFewCandidates

Array = Any  # numpy.ndarray live, jax.Array in compiled replay: ask `array.__array_namespace__()`.
Table = Mapping[str, np.ndarray]  # named columns of equal length

INTERFACE_VERSION = 2
"""The version of the protocols below; a plugin class may state `recsdk_interface: ClassVar[int]` to be checked against it."""

S = TypeVar("S")


class Context(NamedTuple):
    """The candidates of one round, as a policy sees them.

    Attributes:
        features: f64[K, D], phi(x, a) of each candidate.
        mask: bool[K], true for a real candidate, false for padding.
        item: i64[K], catalogue slot of each candidate, for policies that keep something per item.

    Example:
        >>> import numpy as np
        >>> context = Context(features=np.eye(3), mask=np.array([True, True, False]), item=np.array([7, 4, 0]))
        >>> context.mask.sum()  # two candidates and one row of padding
        np.int64(2)
    """

    features: Array
    mask: Array
    item: Array


class Decision(NamedTuple):
    """The chosen candidate and its probability. A slate is a decision with a leading L.

    Attributes:
        action: i64[], index of the chosen candidate.
        propensity: f64[], `probs[action]`, the probability with which it was drawn, in (0, 1].
        probs: f64[K], the distribution it was drawn from.

    Example:
        >>> decision = Decision(action=np.int64(1), propensity=np.float64(0.75), probs=np.array([0.25, 0.75]))
        >>> decision.probs[decision.action] == decision.propensity
        np.True_
    """

    action: Array
    propensity: Array
    probs: Array


class Interaction(NamedTuple):
    """One round with its outcome, (x, a, r, p); with a leading T, a log.

    Attributes:
        context: the candidates, as the policy saw them.
        action: i64[], index of the shown candidate.
        reward: f64[], finite.
        propensity: f64[], the logging policy's probability of `action`, in (0, 1].
        weight: f64[], how many rounds this one stands for: 1, or 1 / (1 - p_shed), or a discount; >= 0.

    Example:
        >>> context = Context(np.eye(2), np.array([True, True]), np.arange(2))
        >>> clicked = Interaction(context, action=1, reward=1.0, propensity=0.5, weight=1.0)
        >>> clicked.context.features[clicked.action]
        array([0., 1.])
    """

    context: Context
    action: Array
    reward: Array
    propensity: Array
    weight: Array


class Request(NamedTuple):
    """One user's visit, as the application knows it.

    Attributes:
        features: plain values by name: str, float, int, bool, or a list of str.
        time: seconds since the epoch.

    Example:
        >>> Request(features={"device": "phone", "liked": ["tea", "books"]}, time=1_700_000_000.0).features["device"]
        'phone'
    """

    features: Mapping[str, Any]
    time: float


class Items(NamedTuple):
    """Items of a catalogue, or the candidates among them.

    Attributes:
        ids: object[N] of str.
        features: columns of length N: numbers, str, or lists of str.
        slot: i64[N], the number that the catalogue gave each item for good.
        added: f64[N], seconds since the epoch at which each item entered the catalogue.

    Example:
        >>> from recsdk.data import items_from_rows
        >>> items = items_from_rows([{"id": "tea", "price": 4.0}, {"id": "coffee", "price": 5.0}])
        >>> items.ids.tolist(), items.features["price"]
        (['tea', 'coffee'], array([4., 5.]))
    """

    ids: np.ndarray
    features: Table
    slot: np.ndarray
    added: np.ndarray


class Events(NamedTuple):
    """A log of past events in the application's own terms, oldest first.

    Attributes:
        requests: columns of length T, the requests' features.
        items: the catalogue that `item` points into; `items.slot` is `arange(N)` or the catalogue's own numbers.
        item: i64[T], index into `items` of the item shown or taken.
        reward: f64[T], finite.
        time: f64[T], seconds since the epoch, not decreasing.

    Example:
        >>> from recsdk.data import events_from_rows, items_from_rows
        >>> items = items_from_rows([{"id": "tea"}, {"id": "coffee"}])
        >>> log = events_from_rows(items, [{"item": "coffee", "time": 0.0, "device": "phone"}])
        >>> log.item, log.requests["device"]
        (array([1]), array(['phone'], dtype=object))
    """

    requests: Table
    items: Items
    item: np.ndarray
    reward: np.ndarray
    time: np.ndarray


class Rng(Protocol):
    """A source of random numbers: `numpy.random.Generator`, or `recsdk.JaxRandom` inside a trace."""

    def standard_normal(self, shape: Any = None) -> Array: ...

    def random(self, shape: Any = None) -> Array: ...


class Policy(Protocol[S]):
    """A distribution over candidates and an update rule. It never draws: `decide` does.

    Attributes:
        runs_on: ("numpy", "jax") for array-API code, ("jax",), or ("numpy",) for native code.
        learns_from: "chosen" if `update` reads only the chosen candidate's row of `features`, else "all".
    """

    @property
    def runs_on(self) -> tuple[str, ...]: ...

    @property
    def learns_from(self) -> str: ...

    def init(self, prior: Array) -> S:
        """Returns the state before any interaction; `prior` f64[D] is the prior mean of phi's weights."""

    def probs(self, state: S, rng: Rng, context: Context) -> Array:
        """Returns f64[K], the probability of each candidate: >= 0, zero on padding, with sum 1. `decide` draws from exactly these."""

    def update(self, state: S, interaction: Interaction) -> S:
        """Returns the state after one interaction. Consumes `state`: the caller must not use it again."""


class Scorer(Protocol[S]):
    """A source of evidence about candidates. Most plugins are scorers.

    Attributes:
        columns: names of the columns that `score` returns.
    """

    @property
    def columns(self) -> tuple[str, ...]: ...

    def init(self) -> S:
        """Returns the state before any event. Stored states are read into its structure, so `fit` must return the same records."""

    def fit(self, log: Events) -> S:
        """Learns from scratch, offline; `log` may be of length 0."""

    def score(self, state: S, request: Request, candidates: Items) -> Array:
        """Returns f32[K, len(columns)], finite."""


class Encoder(Protocol[S]):
    """A model that maps requests and items to vectors of one space, where the inner product is the score.

    Attributes:
        dim: width of the embeddings.
    """

    @property
    def dim(self) -> int: ...

    def init(self) -> S:
        """Returns the untrained state. Stored states are read into its structure, so `fit` must return the same records."""

    def fit(self, log: Events, *, state: S | None = None, seed: int = 0) -> S:
        """Trains from scratch, or on from `state`; `log` may be of length 0."""

    def encode_requests(self, state: S, requests: Table) -> Array:
        """Returns f32[B, dim], a vector for each request. A table without columns stands for one request without features."""

    def encode_items(self, state: S, items: Items) -> Array:
        """Returns f32[N, dim], a vector for each item."""


class Retriever(Protocol[S]):
    """An index of the catalogue's vectors: it finds the candidates of a request.

    Attributes:
        uses_vectors: false if it works without an encoder.

    Example:
        >>> from recsdk.retrievers.exact import Exact
        >>> retriever: Retriever = Exact()
        >>> state = retriever.build(np.eye(3, dtype=np.float32))
        >>> user, allowed = np.array([1, 3, 2], np.float32), np.ones(3, bool)
        >>> retriever.search(state, np.random.default_rng(0), user, allowed, 2).tolist()
        [1, 2]
    """

    @property
    def uses_vectors(self) -> bool: ...

    def build(self, vectors: Array) -> S:
        """Returns an index of `vectors` f32[N, dim]; row s belongs to the item in slot s."""

    def add(self, state: S, slot: Array, vectors: Array) -> S:
        """Returns the index after the rows `slot` i64[M] of `vectors` f32[N, dim] were added or changed. Consumes `state`."""

    def search(self, state: S, rng: Rng, user: Array, allowed: Array, size: int) -> Array:
        """Returns i64[<= size], distinct slots where `allowed` bool[N] is true, the best for the vector `user` f32[dim] first."""


@runtime_checkable
class Mergeable(Protocol[S]):
    """States that add up: `merge(fold(a), fold(b))` is `fold(a + b)`, and `weigh(state, 2)` is `merge(state, state)`."""

    def merge(self, a: S, b: S) -> S: ...

    def weigh(self, state: S, weight: float) -> S: ...


@runtime_checkable
class Forgettable(Protocol[S]):
    """States that can be taken apart: `subtract(fold(a + b), fold(b))` is `fold(a)`, and `forget` takes out one interaction."""

    def subtract(self, whole: S, part: S) -> S: ...

    def forget(self, state: S, interaction: Interaction) -> S: ...


class Scores(NamedTuple):
    """A policy's opinion of K candidates, in units of the reward.

    Attributes:
        mean: f64[K], the expected reward.
        bonus: f64[K], >= 0, the exploration due to uncertainty: the optimism of an upper confidence bound, or the posterior standard
            deviation in Thompson sampling; 0 for a policy whose exploration does not depend on its uncertainty.

    Example:
        >>> Scores(mean=np.array([0.2, 0.5]), bonus=np.array([0.3, 0.1])).bonus.argmax()
        np.int64(0)
    """

    mean: Array
    bonus: Array


@runtime_checkable
class Explained(Protocol):
    """A policy that can explain its probabilities: `scores` returns its estimate for each candidate. `state` is not consumed.

    Example:
        >>> from recsdk import Explained, LinUCB, Uniform, WithFloor
        >>> [isinstance(policy, Explained) for policy in (LinUCB(), WithFloor(policy=LinUCB()), Uniform())]
        [True, True, False]
    """

    def scores(self, state: Any, context: Context) -> Scores: ...


@runtime_checkable
class Native(Protocol[S]):
    """A component whose state is not a record of arrays, and which therefore writes, reads and frees it itself."""

    def dumps(self, state: S) -> bytes: ...

    def loads(self, data: bytes) -> S: ...

    def close(self, state: S) -> None: ...


@runtime_checkable
class Composite(Protocol):
    """A policy made of other policies. `map_parts` gives access to their states, so that native ones can be written and freed.

    `map_parts(function, state)` returns `state` with the state of each of `parts` replaced by `function(part, part_state)`.
    """

    @property
    def parts(self) -> tuple[Policy[Any], ...]: ...

    def map_parts(self, function: Callable[[Policy[Any], Any], Any], state: Any) -> Any: ...


@runtime_checkable
class Online(Protocol[S]):
    """A scorer that also learns from every reward of the live loop. `item` is the shown item, with the features that it had when shown.

    `update` consumes `state`.
    """

    def update(self, state: S, request: Request, item: Items, reward: float) -> S: ...


@runtime_checkable
class Walks(Protocol[S]):
    """A policy that has loops compiled by Numba, which walk a whole log: `replay` and `sweep` use them as the engine "numba".

    `walk` must give what `decide` and `update` give round by round from the same `rng`, up to rounding, and neither consumes `state` nor
    checks the log, which has been done. It learns as `learn_from` of `replay` says. It returns the last state, and the decisions with a
    leading T; or None where numbers overflow or `state` is of another length, and then the rounds are walked one by one, and refused as
    live. A subclass that has its own `init`, `probs`, `scores` or `update`, but no `walk` of its own, is not walked in loops.
    """

    def walk(self, state: S, rng: np.random.Generator, log: Interaction, learn_from: str) -> tuple[S, Decision] | None: ...


@runtime_checkable
class Folds(Protocol[S]):
    """A policy that learns many rounds at once, which makes recovery and audits quicker: `recsdk.base.fold` uses it.

    `fold` must give what `update` gives round by round, to the last bit. It consumes `state`; the log, T rounds on NumPy, has been checked.
    A subclass that has an `update` of its own, but no `fold` of its own, learns round by round.
    """

    def fold(self, state: S, log: Interaction) -> S: ...


@runtime_checkable
class FoldsOnline(Protocol[S]):
    """A scorer that is `Online` and learns many rewards at once, which makes recovery and audits quicker.

    `fold` must give what `update` gives reward by reward, to the last bit: `slots` are those of the shown items. It consumes `state`.
    `features` of a request are read from the log when they are first looked at. As with policies, a subclass with an `update` of its own
    needs a `fold` of its own.
    """

    def fold(self, state: S, requests: Sequence[Request], slots: Sequence[int], rewards: Sequence[float]) -> S: ...


def stands_for(part: Any, name: str, others: Sequence[str]) -> bool:
    """Tells whether a part's method `name` may be called in place of others: not where a subclass has changed one of those alone.

    Example:
        >>> from recsdk import LinTS
        >>> class Frozen(LinTS):
        ...     def update(self, state, interaction):
        ...         return state
        >>> stands_for(LinTS(), "fold", ["update"]), stands_for(Frozen(), "fold", ["update"])
        (True, False)
    """
    above = itertools.takewhile(lambda cls: name not in vars(cls), type(part).__mro__)
    return not any(other in vars(cls) for cls in above for other in others)


def fold(policy: Policy[S], state: S, log: Interaction) -> S:
    """Learns rounds in order, without a check: by the policy's own `fold` where it has one, to the last bit as by `update`.

    Args:
        policy: that runs on NumPy.
        state: consumed.
        log: T rounds of NumPy's arrays.

    Example:
        >>> from recsdk import LinUCB, arrays
        >>> context = Context(np.eye(2), np.ones(2, bool), np.arange(2))
        >>> seen = [Interaction(context, action, 1.0, 0.5, 1.0) for action in (0, 1, 1)]
        >>> fold(LinUCB(), LinUCB().init(np.zeros(2)), arrays.stack(seen)).total
        np.float64(3.0)
    """
    if isinstance(policy, Folds) and stands_for(policy, "fold", ("update",)):
        learned: S = policy.fold(state, log)
        return learned
    for interaction in rounds(log):
        state = _given(policy, state, policy.update(state, interaction))
    return state


def rounds(log: Interaction) -> Iterator[Interaction]:
    """Yields the rounds of a log of NumPy's arrays, with plain numbers, as the live loop has them.

    Example:
        >>> log = Interaction(Context(np.ones((3, 1, 1)), np.ones((3, 1), bool), np.zeros((3, 1), int)), *np.zeros((4, 3)))
        >>> [interaction.reward for interaction in rounds(log)]
        [0.0, 0.0, 0.0]
    """
    contexts = map(Context, *log.context)
    for context, *numbers in zip(contexts, *(column.tolist() for column in log[1:]), strict=True):
        yield Interaction(context, *numbers)


def _given(policy: Policy[S], before: S, after: S) -> S:
    if after is None and before is not None:
        raise InvalidAnswer(f"update of {policy!r} must return the state after the interaction, got None.")
    return after


def decide(policy: Policy[S], state: S, rng: Rng, context: Context) -> Decision:
    """Chooses one candidate. Nothing else in recsdk draws an action, so the propensity is true by construction.

    Args:
        policy: gives the distribution.
        state: from `policy.init` or `policy.update`; not consumed.
        rng: used by the policy first, then by the draw.
        context: one round, in NumPy arrays; inside a trace, in JAX arrays.

    Raises:
        InvalidProbs: on NumPy, when the policy's answer is not a distribution over the candidates.

    Example:
        >>> from recsdk import Uniform
        >>> context = Context(np.zeros((4, 1)), np.ones(4, bool), np.arange(4))
        >>> decide(Uniform(), Uniform().init(np.zeros(1)), np.random.default_rng(0), context).propensity
        np.float64(0.25)
    """
    probs = policy.probs(state, rng, context)
    # Inverts the distribution function of exactly the probs that are logged; the last place is reached though cdf[-1] be 1 - 1e-16.
    if isinstance(probs, np.ndarray):
        if probs.dtype != np.float64 or probs.shape != context.mask.shape:
            wanted = f"finite float64{list(context.mask.shape)} >= 0 that sum to 1"
            raise InvalidProbs(f"probs must be {wanted}, got {probs.dtype}{list(probs.shape)}.")
        cdf = probs.cumsum()
        check_probs(probs, cdf[-1], context.mask)
        action = cdf.searchsorted(rng.random() * cdf[-1], side="right")
        if not context.mask[action]:
            raise InvalidProbs(f"probs must be zero on padding, got {probs[action]} at candidate {action}.")
        if probs[action] > 1:  # by rounding; what is logged is a probability, which learning asks for
            probs = np.minimum(probs, 1.0)
    elif isinstance(context.features, np.ndarray):
        way = f": {policy!r} goes live as recsdk.Jitted(policy=...)" if "numpy" not in policy.runs_on else ""
        raise InvalidProbs(f"probs must be an array of NumPy, as features are, got {type(probs).__name__}{way}.")
    else:  # inside a trace nothing can raise, recsdk.testing holds policies to it there; and counting is quicker than searching
        cdf = probs.cumsum()
        action = (cdf <= rng.random() * cdf[-1]).sum()
    return Decision(action, probs[action], probs)


def decide_slate(policy: Policy[S], state: S, rng: Rng, context: Context, size: int) -> Decision:
    """Fills a slate from the top: draws each position by `decide` from the candidates that remain.

    Returns:
        A decision with a leading L = `size`. The propensity of a position is conditional on the items above it.

    Raises:
        TooFewCandidates: when `size` is below 1 or above the number of candidates.

    Example:
        >>> from recsdk import Uniform
        >>> context = Context(np.zeros((4, 1)), np.ones(4, bool), np.arange(4))
        >>> slate = decide_slate(Uniform(), Uniform().init(np.zeros(1)), np.random.default_rng(0), context, size=3)
        >>> slate.propensity.round(3)  # of 4 candidates, then of the 3 that remain, then of 2
        array([0.25 , 0.333, 0.5  ])
    """
    available = int(context.mask.sum()) if isinstance(context.mask, np.ndarray) else len(context.mask)
    if not 1 <= size <= available:
        raise TooFewCandidates(f"size must be in [1, {available}], the number of candidates, got {size}.")
    xp = context.features.__array_namespace__()
    places, decisions = xp.arange(len(context.mask)), []
    for _ in range(size):
        decision = decide(policy, state, rng, context)
        if isinstance(decision.probs, np.ndarray) and decision.probs[~context.mask].any():
            raise InvalidProbs(f"probs must be zero on padding and on what stands above, got {decision.probs!r}.")
        decisions.append(decision)
        context = context._replace(mask=context.mask & (places != decision.action))
    return Decision(*(xp.stack([xp.asarray(field) for field in fields]) for fields in zip(*decisions, strict=True)))


def learn(policy: Policy[S], state: S, interaction: Interaction) -> S:
    """Checks an interaction and updates the policy with it. If it is refused, `state` is unchanged.

    Raises:
        InvalidContext, InvalidReward, InvalidPropensity, InvalidValue: see `recsdk.checks.check_interaction`. InvalidValue also for a
            policy that runs on JAX alone.
        InvalidAnswer: when the policy's `update` returns nothing.

    Example:
        >>> from recsdk import LinUCB
        >>> policy = LinUCB()
        >>> context = Context(np.eye(2), np.ones(2, bool), np.arange(2))
        >>> state = learn(policy, policy.init(np.zeros(2)), Interaction(context, 1, reward=1.0, propensity=0.5, weight=1.0))
        >>> policy.probs(state, np.random.default_rng(0), context)  # the rewarded candidate is now the best
        array([0., 1.])
    """
    if "numpy" not in policy.runs_on:
        raise InvalidValue(f"policy must run on NumPy to learn live, got {policy!r}: it goes live as recsdk.Jitted(policy=...).")
    check_interaction(interaction)
    if policy.learns_from == "all":
        check_context(interaction.context)
    return _given(policy, state, policy.update(state, interaction))
