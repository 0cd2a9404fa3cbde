"""Real data as a bandit: the data has every candidate's reward, the policy learns only that of its choice."""

from __future__ import annotations

from typing import Literal, NamedTuple

import attrs
import numpy as np

from recsdk.base import Array, Rng
from recsdk.drivers.simulate import Round
from recsdk.environments._candidates import everyone
from recsdk.errors import EmptyLog, InvalidValue, one_of


class Rows(NamedTuple):
    """The data in the order of play.

    Attributes:
        contexts: f64[N, D], features of each row or user.
        rewards: f64[N, K], reward of each candidate.
        items: f64[K, D], features of each candidate, or f64[K, 0] where candidates have none.
    """

    contexts: Array
    rewards: Array
    items: Array


def _table(instance: object, field: attrs.Attribute, value: np.ndarray) -> None:
    if not (isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype == np.float64 and np.isfinite(value).all()):
        raise InvalidValue(f"{type(instance).__name__}.{field.name} must be a finite float64[N, D], got {value!r}.")
    if len(value) == 0:
        raise EmptyLog(f"{type(instance).__name__}.{field.name} must have at least one row, got none.")


@attrs.frozen(kw_only=True, eq=False)
class ClassificationWorld:
    """Supervised classification as a bandit: the candidates are the classes, and the reward is 1 for the right class.

    The seed shuffles the rows; after the last one they start again in the same order.

    Attributes:
        contexts: f64[N, d], features of the rows; standardise the columns first.
        labels: i64[N], class of each row, in [0, K).
        phi: "blocks", one block per class, phi(x, a) = e_a (x) [x, 1], with which a policy with one weight vector learns a linear model for
            each class; or "shared", phi(x, a) = [x, 1] for all, for policies that learn about each item.

    References:
        Bietti, Agarwal, Langford, A Contextual Bandit Bake-off, JMLR 2021.

    Example:
        >>> import numpy as np
        >>> from recsdk.environments import ClassificationWorld
        >>> world = ClassificationWorld(contexts=np.eye(3), labels=np.array([0, 1, 1]))
        >>> world.num_candidates, world.dim
        (2, 8)
    """

    contexts: np.ndarray = attrs.field(validator=_table)
    labels: np.ndarray
    phi: Literal["blocks", "shared"] = "blocks"

    def __attrs_post_init__(self) -> None:
        one_of("phi", self.phi, ("blocks", "shared"))
        labels = self.labels
        if labels.shape != (len(self.contexts),) or labels.dtype != np.int64 or labels.min() < 0:
            raise InvalidValue(f"labels must be int64[{len(self.contexts)}] >= 0, got {labels.dtype}{list(labels.shape)}.")

    @property
    def num_candidates(self) -> int:
        """Number of classes, K."""
        return int(self.labels.max()) + 1

    @property
    def dim(self) -> int:
        """Width of phi, d + 1 for each block."""
        return (int(self.contexts.shape[1]) + 1) * (self.num_candidates if self.phi == "blocks" else 1)

    def init(self, seed: int) -> Rows:
        order = np.random.default_rng(seed).permutation(len(self.contexts))
        contexts = np.column_stack([self.contexts, np.ones(len(self.contexts))])[order]
        rewards = np.eye(self.num_candidates)[self.labels[order]]
        return Rows(contexts, rewards, np.zeros((self.num_candidates, 0)))

    def round(self, world: Rows, rng: Rng, time: Array) -> Round:
        del rng
        row = time % world.contexts.shape[0]
        context, reward = world.contexts[row], world.rewards[row]
        xp = context.__array_namespace__()
        num_candidates = reward.shape[0]
        if self.phi == "shared":
            features = xp.repeat(context[None, :], num_candidates, axis=0)
        else:
            blocks = xp.eye(num_candidates, dtype=xp.float64)[:, :, None] * context[None, None, :]
            features = xp.reshape(blocks, (num_candidates, -1))
        return Round(everyone(features), reward, reward)


@attrs.frozen(kw_only=True, eq=False)
class RatingsWorld:
    """Full ratings as a bandit: the candidates are the items, and the reward is the user's rating of the item shown.

    The seed shuffles the users; after the last one they start again in the same order. Features are phi(u, i) = [user * item, item, 1].

    Attributes:
        ratings: f64[U, K], every user's rating of every candidate; a scale from 0 to 1 suits the policies' defaults.
        users: f64[U, d], features of the users.
        items: f64[K, d], features of the items.

    Example:
        >>> import numpy as np
        >>> from recsdk.environments import RatingsWorld
        >>> RatingsWorld(ratings=np.eye(3), users=np.ones((3, 2)), items=np.ones((3, 2))).dim
        5
    """

    ratings: np.ndarray = attrs.field(validator=_table)
    users: np.ndarray = attrs.field(validator=_table)
    items: np.ndarray = attrs.field(validator=_table)

    def __attrs_post_init__(self) -> None:
        wanted = (len(self.users), len(self.items))
        if self.ratings.shape != wanted:
            raise InvalidValue(f"ratings must be float64[U, K] = {list(wanted)} as users and items, got {list(self.ratings.shape)}.")
        if self.users.shape[1] != self.items.shape[1]:
            raise InvalidValue(f"users and items must be of one width, got {self.users.shape[1]} and {self.items.shape[1]}.")

    @property
    def dim(self) -> int:
        """Width of phi, 2 d + 1."""
        return 2 * int(self.users.shape[1]) + 1

    def init(self, seed: int) -> Rows:
        order = np.random.default_rng(seed).permutation(len(self.users))
        return Rows(self.users[order], self.ratings[order], self.items)

    def round(self, world: Rows, rng: Rng, time: Array) -> Round:
        del rng
        row = time % world.contexts.shape[0]
        user, reward, items = world.contexts[row], world.rewards[row], world.items
        xp = user.__array_namespace__()
        num_candidates = items.shape[0]
        features = xp.concat([user[None, :] * items, items, xp.ones((num_candidates, 1), dtype=xp.float64)], axis=1)
        return Round(everyone(features), reward, reward)
