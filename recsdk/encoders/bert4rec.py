"""BERT4Rec: a transformer that learns to fill in items that are left out of a history."""

from __future__ import annotations

import attrs

from recsdk.checks import integer, number
from recsdk.encoders import _sequential
from recsdk.encoders._bidirectional import BidirectionalShape
from recsdk.encoders._transformer import TransformerShape
from recsdk.encoders.settings import SequenceSettings
from recsdk.errors import InvalidValue
from recsdk.validators import choice


@attrs.frozen(kw_only=True)
class BERT4Rec(SequenceSettings):
    """Learns a user's vector by a transformer that looks both ways, from histories of which it must guess what is left out.

    It reads and serves as `SASRec` does; see there. In training a share of a history's items is left out, another one each time, and
    always the last one, since that is what is asked for when it serves. It sees what comes after as well as before, so it learns more
    from each history, and takes longer: only what is left out teaches. `SASRec` with the same loss is mostly as good and sooner done.

    Its other settings are those of `recsdk.encoders.settings.SequenceSettings`.

    Attributes:
        num_layers: blocks of attention and dense layers.
        num_heads: of the attention; divides `dim`.
        activation: "swiglu" or "relu", of the dense layers.
        mask_share: share of the items that are left out in training, besides the last.

    References:
        Sun et al., BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from Transformer, CIKM 2019.

    Example:
        >>> from recsdk.data import items_from_rows, requests_table
        >>> encoder = BERT4Rec(dim=8, num_heads=2)
        >>> encoder.encode_requests(encoder.init(), requests_table([{"history": ["film-1", "film-7"]}])).shape
        (1, 8)
    """

    num_layers: int = attrs.field(default=2, validator=integer(at_least=1))
    num_heads: int = attrs.field(default=2, validator=integer(at_least=1))
    activation: str = attrs.field(default="swiglu", validator=choice("swiglu", "relu"))
    mask_share: float = attrs.field(default=0.3, validator=number(at_least=0, at_most=1))

    def __attrs_post_init__(self) -> None:
        if self.dim % self.num_heads:
            raise InvalidValue(f"BERT4Rec.num_heads must divide dim, {self.dim}, got {self.num_heads}.")

    @property
    def shape(self) -> BidirectionalShape:
        """The architecture."""
        return BidirectionalShape(transformer=TransformerShape.of(self), mask_share=self.mask_share)

    init = _sequential.init
    fit = _sequential.fit
    encode_requests = _sequential.encode_requests
    encode_items = _sequential.encode_items
