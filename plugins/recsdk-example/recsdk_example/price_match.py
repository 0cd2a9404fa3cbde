"""How well a price fits a budget."""

from __future__ import annotations

from typing import ClassVar

import attrs
import numpy as np

from recsdk.base import Array, Events, Items, Request
from recsdk.errors import InvalidRequest


@attrs.frozen(kw_only=True)
class PriceMatch:
    """Scores an item by its price and the request's budget, the smaller over the larger: 1 where they are equal.

    Without a budget all items score 0, and so does an item without a price.

    Attributes:
        budget: name of the request's feature, a number > 0.
        price: name of the items' feature, numbers >= 0, NaN where it is missing.
    """

    columns: ClassVar[tuple[str, ...]] = ("price-match",)

    budget: str = attrs.field(default="budget", validator=attrs.validators.instance_of(str))
    price: str = attrs.field(default="price", validator=attrs.validators.instance_of(str))

    def init(self) -> tuple[()]:
        """Returns an empty state."""
        return ()

    def fit(self, log: Events) -> tuple[()]:
        """Learns nothing: there is no state."""
        del log
        return ()

    def score(self, state: tuple[()], request: Request, candidates: Items) -> Array:
        """Returns f32[K, 1] in [0, 1].

        Raises:
            InvalidRequest: when the budget is not a number > 0.
        """
        del state
        if self.budget not in request.features:
            return np.zeros((len(candidates.ids), 1), np.float32)
        budget, price = request.features[self.budget], candidates.features[self.price]
        if not isinstance(budget, (int, float)) or not 0 < budget < np.inf:
            raise InvalidRequest(f"{self.budget} must be a number > 0, got {budget!r}.")
        ratio = np.minimum(price, budget) / np.maximum(price, budget)
        return np.nan_to_num(ratio).astype(np.float32)[:, None]
