"""Matrix factorisation, in which users are what they took."""

from __future__ import annotations

import attrs

from recsdk.checks import number
from recsdk.encoders import _sequential
from recsdk.encoders._factors import FactorShape
from recsdk.encoders.settings import SequenceSettings
from recsdk.validators import choice


@attrs.frozen(kw_only=True)
class MF(SequenceSettings):
    """Learns two vectors per item, one for having been taken and one for being offered; a user is the sum of the former.

    It is the simplest of the sequence encoders, and the one to compare the others with. There is no vector per user: what a user took is
    summed, the latest item with weight 1, the one before with `recency_decay`, and so on, over the Euclidean length of these weights, and a
    vector that all users share is added. So a new user needs no training. It reads, trains and serves as `SASRec` does; see there. With
    `recency_decay=1` the order does not count. `loss="bpr"` is the loss of BPR-MF, without its penalty on large vectors: `weight_decay`
    does nothing here, since vectors of items do not decay, and there are no layers.

    Its other settings are those of `recsdk.encoders.settings.SequenceSettings`; here `output` is "untied" by default.

    Attributes:
        recency_decay: how much less each earlier item of the history counts.

    References:
        Kabbur, Ning, Karypis, FISM: Factored Item Similarity Models for Top-N Recommender Systems, KDD 2013; Koren, Factorization Meets
        the Neighborhood, KDD 2008 (asymmetric factors).

    Example:
        >>> from recsdk.data import items_from_rows, requests_table
        >>> encoder = MF(dim=8)
        >>> encoder.encode_requests(encoder.init(), requests_table([{"history": ["film-1", "film-7"]}])).shape
        (1, 8)
    """

    output: str = attrs.field(default="untied", validator=choice("tied", "untied"))
    recency_decay: float = attrs.field(default=0.8, validator=number(above=0, at_most=1))

    @property
    def shape(self) -> FactorShape:
        """The architecture."""
        is_tied = self.output == "tied"
        return FactorShape(dim=self.dim, max_length=self.max_length, is_tied=is_tied, recency_decay=self.recency_decay)

    init = _sequential.init
    fit = _sequential.fit
    encode_requests = _sequential.encode_requests
    encode_items = _sequential.encode_items
