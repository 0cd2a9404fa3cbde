"""Causal convolutions over what the user took."""

from __future__ import annotations

import attrs

from recsdk.checks import integer
from recsdk.encoders import _sequential
from recsdk.encoders._convolutions import ConvolutionShape
from recsdk.encoders.settings import SequenceSettings


@attrs.frozen(kw_only=True)
class CNN(SequenceSettings):
    """Learns a user's vector from short patterns in the order in which items were taken, by gated convolutions.

    It reads, trains and serves as `SASRec` does; see there. A layer looks at `window` places, with gaps that double from layer to layer:
    the default sees the latest 31 items. All its places are computed at once, and its cost grows linearly with the history, so it is
    quick to train where histories are long, and good where what comes next depends on the last few items: sessions of clicks.

    Its other settings are those of `recsdk.encoders.settings.SequenceSettings`.

    Attributes:
        num_layers: convolutions.
        window: places that each looks at.

    References:
        Tang and Wang, Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding, WSDM 2018; Yuan, Karatzoglou,
        Arapakis, Jose, He, A Simple Convolutional Generative Network for Next Item Recommendation, WSDM 2019.

    Example:
        >>> from recsdk.data import items_from_rows, requests_table
        >>> encoder = CNN(dim=8)
        >>> encoder.encode_requests(encoder.init(), requests_table([{"history": ["film-1", "film-7"]}])).shape
        (1, 8)
    """

    num_layers: int = attrs.field(default=4, validator=integer(at_least=1))
    window: int = attrs.field(default=3, validator=integer(at_least=2))

    @property
    def shape(self) -> ConvolutionShape:
        """The architecture."""
        return ConvolutionShape(
            dim=self.dim, num_layers=self.num_layers, window=self.window, max_length=self.max_length, is_tied=self.output == "tied"
        )

    init = _sequential.init
    fit = _sequential.fit
    encode_requests = _sequential.encode_requests
    encode_items = _sequential.encode_items
