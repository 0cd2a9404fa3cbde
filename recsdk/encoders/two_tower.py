"""A two-tower model: one network for requests, one for items; the inner product of their vectors is the score."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import attrs
import numpy as np

from recsdk.arrays import require_jax
from recsdk.base import Array, Events, Items, Table
from recsdk.checks import integer, number
from recsdk.columns import CATEGORY, column_kind
from recsdk.data import take
from recsdk.encoders._bags import Bags, bags, learn_columns, num_rows
from recsdk.encoders._batches import Examples
from recsdk.encoders._tower import Tower, forward, initial
from recsdk.errors import InvalidRequest, InvalidValue, MissingExtra, install, nearest
from recsdk.validators import feature_name

SPREAD = 0.25
SMALLEST_SPREAD = 1e-6  # below it all items score alike, and scaling would blow up rounding errors
SAMPLE = 1024  # requests, and items, that are enough to measure the spread
UNSEEN_EXPOSURES = 10
"""Times that every item is taken to have been offered besides those in the log, so that one lucky exposure proves little."""


class TwoTowerState(NamedTuple):
    """A fitted `TwoTower`. The score of an item for a user is (scale * user vector) . (item vector - centre).

    Attributes:
        user: tower of the requests.
        item: tower of the items.
        centre: f32[dim], mean vector of the catalogue at the fit.
        scale: f32[], for a spread of 1/4.
        loss: f64[], of the last fit's last epoch, mean over the steps taken; 0 before any.
        skipped: i64[], steps of the last fit that were not taken, since their loss or gradient was not finite.

    Example:
        >>> TwoTower(dim=4).init().centre.tolist()
        [0.0, 0.0, 0.0, 0.0]
    """

    user: Tower
    item: Tower
    centre: np.ndarray
    scale: np.ndarray
    loss: np.ndarray
    skipped: np.ndarray


def _widths(instance: TwoTower, field: attrs.Attribute, value: object) -> None:
    if not isinstance(value, tuple) or not all(type(width) is int and width > 0 for width in value):
        raise InvalidValue(f"{type(instance).__name__}.{field.name} must be a tuple of whole numbers >= 1, got {value!r}.")


def _names(instance: TwoTower, field: attrs.Attribute, value: object) -> None:
    if not isinstance(value, tuple) or not all(isinstance(name, str) for name in value):
        raise InvalidValue(f"{type(instance).__name__}.{field.name} must be a tuple of names, got {value!r}.")


@attrs.frozen(kw_only=True)
class TwoTower:
    """Learns vectors of requests and items whose inner product ranks items by how likely the user takes them.

    Any features will do: str, numbers, lists of str, missing ones; all are hashed, so new users, items and columns need no new
    parameters. An item's id is one of its features. Training maximises the likelihood of the rewarded events, each weighted by its
    reward, against the catalogue (a sampled softmax). An event without a reward above 0 is an impression: it is no example, but tells
    how often its item was offered, and what was offered often must also be taken often to score as high. The larger the share
    of impressions, the stronger this correction; without any, items that are taken often score high.

    The score is the deviation from what the average item would earn: mean 0 over the catalogue for each user, standard deviation 1/4
    over the items for the average user, so that the best of many items score 0.5 to 0.75, as if a reward in [0, 1]. The mean reward
    itself is left to the policy's constant feature, which learns it within a few rounds. The spread is not fitted to the rewards:
    a log of choices does not determine it, and where rewards are rare it would be so small that the policy, whose prior gives each
    of phi's features a weight of order 1, could not learn corrections from user * item. Scale rewards to about [0, 1].

    Attributes:
        dim: width of the vectors.
        num_buckets: rows of each tower's table of hashed features; features that share a row are not told apart.
        hidden: widths of the hidden layers; a layer's output is added to the sum of the features' vectors.
        epochs: passes over the log per fit.
        batch_size: examples per step; fewer where the log has less than 16 batches.
        learning_rate: of Adam at the start of a fit, falling to 0 at its end.
        temperature: of the softmax; small separates sharply.
        user_features: the requests' features to use; None for all.
        item_features: the items' features to use besides the id; None for all.
        user: the request's feature that says who the user is, a str: a number would be taken for a quantity.
        text_features: features of the kind str that are split into lower-cased words.
        progress: whether to show a bar on stderr; None where that is a terminal.

    Example:
        >>> from recsdk.data import events_from_rows, items_from_rows, requests_table
        >>> items = items_from_rows([{"id": "a", "price": 3.0}, {"id": "b", "price": 5.0}])
        >>> log = events_from_rows(items, [{"item": "a", "time": 0.0, "reward": 0.0, "user_id": "u1", "device": "phone"}])
        >>> encoder = TwoTower(dim=8)
        >>> state = encoder.fit(log)  # nothing was taken: an untrained model that knows the features
        >>> users = encoder.encode_requests(state, requests_table([{"user_id": "u1", "device": "phone"}]))
        >>> (users @ encoder.encode_items(state, items).T).shape
        (1, 2)
    """

    dim: int = attrs.field(default=32, validator=integer(at_least=2))
    num_buckets: int = attrs.field(default=2**15, validator=integer(at_least=2))
    hidden: tuple[int, ...] = attrs.field(default=(64,), validator=_widths)
    epochs: int = attrs.field(default=5, validator=integer(at_least=1))
    batch_size: int = attrs.field(default=256, validator=integer(at_least=1))
    learning_rate: float = attrs.field(default=0.01, validator=number(above=0))
    temperature: float = attrs.field(default=0.1, validator=number(above=0))
    user_features: tuple[str, ...] | None = attrs.field(default=None, validator=attrs.validators.optional(_names))
    item_features: tuple[str, ...] | None = attrs.field(default=None, validator=attrs.validators.optional(_names))
    text_features: tuple[str, ...] = attrs.field(default=(), validator=_names)
    user: str = attrs.field(default="user_id", validator=feature_name)
    progress: bool | None = attrs.field(default=None, eq=False)

    def init(self) -> TwoTowerState:
        """Returns the untrained state: random parameters of seed 0, no columns known."""
        return self._initial(0)

    def fit(self, log: Events, *, state: TwoTowerState | None = None, seed: int = 0) -> TwoTowerState:
        """See `recsdk.base.Encoder`. Going on from a state keeps its parameters and the statistics of its numbers.

        An empty log leaves a state as it is, and gives an untrained one where there is none.

        Raises:
            InvalidRequest: a column that holds another kind of value than in `state`, or users that are no str.
            InvalidValue: no step of the training was finite; `state` is as it was.
            MissingExtra: JAX, Flax or Optax is not installed.
        """
        if not len(log.item) and state is not None:
            return state
        users = log.requests.get(self.user)
        if users is not None and column_kind(users) not in (CATEGORY, None):
            raise InvalidRequest(f"{self.user!r} says who the user is and must be a str, got {users.tolist()[0]!r}.")
        state = self._initial(seed) if state is None else state
        catalogue = self._columns_of(log.items)
        if len(log.item):
            _check_names("user_features", self.user_features, log.requests, state.user.columns.name)
            _check_names("item_features", self.item_features, log.items.features, state.item.columns.name)
            known = [*state.user.columns.name, *state.item.columns.name]
            _check_names("text_features", self.text_features, {**log.requests, **log.items.features}, known)
        user = state.user._replace(columns=learn_columns(_only(log.requests, self.user_features), state.user.columns, self.text_features))
        item = state.item._replace(columns=learn_columns(catalogue, state.item.columns, self.text_features))
        state = state._replace(user=user, item=item)
        if (log.reward > 0).any():
            state = self._train(state, log, seed)
        return self._calibrate(state, log)

    def encode_requests(self, state: TwoTowerState, requests: Table) -> Array:
        """Returns f32[B, dim], the same to the last bit whatever the rest of the batch.

        A column that no fit has seen is ignored, and one that is not there is missing; a table without columns is one request.

        Raises:
            InvalidRequest: a column that holds another kind of value than at the fit.
        """
        return forward(state.user, self._bags(state.user, requests, num_rows(requests))) * state.scale

    def encode_items(self, state: TwoTowerState, items: Items) -> Array:
        """Returns f32[N, dim], the same to the last bit whatever the rest of the batch.

        Raises:
            InvalidRequest: a column that holds another kind of value than at the fit.
        """
        return forward(state.item, self._bags(state.item, self._columns_of(items), len(items.ids))) - state.centre

    def _initial(self, seed: int) -> TwoTowerState:
        rng = np.random.default_rng(seed)
        user, item = (initial(rng, self.num_buckets, self.dim, self.hidden) for _ in range(2))
        scale = np.array(SPREAD * np.sqrt(self.dim), np.float32)
        return TwoTowerState(user, item, np.zeros(self.dim, np.float32), scale, np.array(0.0), np.array(0))

    def _columns_of(self, items: Items) -> dict[str, np.ndarray]:
        return {"id": items.ids, **_only(items.features, self.item_features)}

    def _bags(self, tower: Tower, table: Table, size: int) -> Bags:
        return bags(tower.columns, table, size, self.num_buckets)

    def _train(self, state: TwoTowerState, log: Events, seed: int) -> TwoTowerState:
        try:
            require_jax()
            from recsdk.encoders._train import Settings, train
        except ModuleNotFoundError as error:
            raise MissingExtra(f"Training two-tower needs {error.name}, which is not installed: {install('deep')}.") from error

        rows, num_items = np.flatnonzero(log.reward > 0), len(log.items.ids)
        users = {name: column[rows] for name, column in log.requests.items()}
        offered = np.bincount(log.item, minlength=num_items) + UNSEEN_EXPOSURES
        share_of_impressions = 1 - len(rows) / len(log.item)
        examples = Examples(
            users=self._bags(state.user, users, len(rows)),
            items=self._bags(state.item, self._columns_of(log.items), num_items),
            item=log.item[rows],
            weight=(log.reward[rows] / log.reward[rows].mean()).astype(np.float32),
            exposure=(share_of_impressions * np.log(offered / offered.mean())).astype(np.float32),
        )
        settings = Settings(self.epochs, self.batch_size, self.learning_rate, self.temperature, self.progress)
        trained = train(state.user, state.item, examples, settings, seed)
        skipped = np.isnan(trained.losses)
        if skipped[-1].all():
            raise InvalidValue(f"TwoTower.learning_rate must be smaller: no step of the last epoch was finite, got {self.learning_rate}.")
        loss = np.array(np.nanmean(trained.losses[-1]), np.float64)
        return state._replace(user=trained.user, item=trained.item, loss=loss, skipped=np.array(skipped.sum()))

    def _calibrate(self, state: TwoTowerState, log: Events) -> TwoTowerState:
        """Centres the items and scales the users, so that a user's scores have mean 0 and, on average, a standard deviation of 1/4."""
        rows, places = _spaced(len(log.item)), _spaced(len(log.items.ids))
        requests = {name: column[rows] for name, column in log.requests.items()}
        users = forward(state.user, self._bags(state.user, requests, num_rows(requests)))
        items = forward(state.item, self._bags(state.item, self._columns_of(take(log.items, places)), len(places)))
        if len(items) < 2 or not len(users):
            return state
        spread = (users @ items.T).std(axis=1).mean()
        scale = SPREAD / spread if spread > SMALLEST_SPREAD else state.scale
        return state._replace(centre=items.mean(axis=0), scale=np.array(scale, np.float32))


def _only(table: Table, names: tuple[str, ...] | None) -> Table:
    return table if names is None else {name: table[name] for name in names if name in table}


def _check_names(field: str, names: tuple[str, ...] | None, table: Table, known: Iterable[str]) -> None:
    there = {*table, *known}
    for name in names or ():
        if name not in there:
            raise InvalidValue(f"TwoTower.{field} must name features of the log, got {name!r}.{nearest(name, there)}")


def _spaced(size: int) -> np.ndarray:
    """Returns `SAMPLE` of `size` places, evenly spaced; all of them where there are not more."""
    return np.arange(size) if size <= SAMPLE else np.linspace(0, size - 1, SAMPLE).astype(np.int64)
