"""An encoder as a scorer."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from recsdk.base import Array, Events, Items, Request
from recsdk.columns import requests_table
from recsdk.scorers._members import encoder, is_encoder


@attrs.frozen(kw_only=True)
class Dot:
    """Scores an item by the inner product of its vector and the user's, of an encoder of its own.

    Use it for a second encoder beside the recommender's, since a policy sees a scorer's column with one weight, or as a member of
    `Ensemble`. Scores are scaled as the encoder scales them: those of recsdk to mean 0 and a standard deviation of 1/4 over the catalogue.

    Attributes:
        encoder: by name, or as a config.

    Example:
        >>> from recsdk.data import items_from_rows
        >>> scorer = Dot(encoder="sasrec")
        >>> items = items_from_rows([{"id": "tea"}, {"id": "pot"}])
        >>> scorer.score(scorer.init(), Request({"history": ["tea"]}, 0.0), items).shape
        (2, 1)
    """

    columns: ClassVar[tuple[str, ...]] = ("dot",)

    encoder: Any = attrs.field(converter=encoder, validator=is_encoder)

    def init(self) -> Any:
        """Returns the encoder's untrained state."""
        return self.encoder.init()

    def fit(self, log: Events) -> Any:
        """Fits the encoder, with seed 0."""
        return self.encoder.fit(log)

    def score(self, state: Any, request: Request, candidates: Items) -> Array:
        """Returns f32[K, 1]."""
        user = self.encoder.encode_requests(state, requests_table([dict(request.features)]))[0]
        # A sum for each row, so that it does not depend on the other candidates.
        return (self.encoder.encode_items(state, candidates) * user).sum(axis=1, keepdims=True)
