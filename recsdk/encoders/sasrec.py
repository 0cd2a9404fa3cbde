"""SASRec: a causal transformer over what the user took."""

from __future__ import annotations

import attrs

from recsdk.checks import integer
from recsdk.encoders import _sequential
from recsdk.encoders._sequential import SequenceState as SequenceState
from recsdk.encoders._transformer import TransformerShape
from recsdk.encoders.settings import SequenceSettings
from recsdk.errors import InvalidValue
from recsdk.validators import choice


@attrs.frozen(kw_only=True)
class SASRec(SequenceSettings):
    """Learns a user's vector from the order in which items were taken, so that its inner product with an item ranks what comes next.

    Use it where the order tells something: films, songs, purchases, clicks of a session. Training reads who took what from the log's
    `user` column. A request carries the user's history itself, as a list feature of item ids, oldest first; a request without one
    gets the vector of a user of whom nothing is known. Other features of requests are not read. An event counts as taken when its
    reward is above 0.

    An item is known by its id. With `item_features` its vector is that of its id plus what its features add: an item that no fit has seen
    has the vector of its features, and one that a fit has seen the vector that it had there. Without, it has the vector 0: the average
    item. A history tells ids alone, so what no fit has seen is passed over there.

    Training predicts each item of a sequence from those before it, all places at once. After each epoch it measures NDCG@10 on the
    last items of `num_validation` users, which are not trained on, and keeps the best epoch's parameters: such models overfit soon.

    The score is scaled as that of `TwoTower`: mean 0 over the catalogue, standard deviation 1/4 for the average user.

    Its other settings are those of `recsdk.encoders.settings.SequenceSettings`.

    Attributes:
        num_layers: blocks of attention and dense layers.
        num_heads: of the attention; divides `dim`.
        activation: "swiglu" or "relu", of the dense layers.

    References:
        Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018; Klenitskiy and Vasilev, Turning Dross Into Gold Loss: is
        BERT4Rec really better than SASRec?, RecSys 2023 (the cross-entropy over all or many negatives).

    Example:
        >>> from recsdk.data import items_from_rows, requests_table
        >>> encoder = SASRec(dim=8, num_heads=2)
        >>> encoder.encode_requests(encoder.init(), requests_table([{"history": ["film-1", "film-7"]}])).shape
        (1, 8)
    """

    num_layers: int = attrs.field(default=2, validator=integer(at_least=1))
    num_heads: int = attrs.field(default=2, validator=integer(at_least=1))
    activation: str = attrs.field(default="swiglu", validator=choice("swiglu", "relu"))

    def __attrs_post_init__(self) -> None:
        if self.dim % self.num_heads:
            raise InvalidValue(f"SASRec.num_heads must divide dim, {self.dim}, got {self.num_heads}.")

    @property
    def shape(self) -> TransformerShape:
        """The architecture."""
        return TransformerShape.of(self)

    init = _sequential.init
    fit = _sequential.fit
    encode_requests = _sequential.encode_requests
    encode_items = _sequential.encode_items
