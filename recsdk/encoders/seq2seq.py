"""A sequence to a sequence: convolutions read what the user took, a recurrent network tells what comes next."""

from __future__ import annotations

import attrs

from recsdk.checks import integer
from recsdk.encoders import _sequential
from recsdk.encoders._convolutions import ConvolutionShape
from recsdk.encoders._decoder import DecoderShape
from recsdk.encoders.settings import SequenceSettings


@attrs.frozen(kw_only=True)
class Seq2Seq(SequenceSettings):
    """Learns a user's vector that tells not only the next item but, item after item, the next `num_ahead`.

    It reads, trains and serves as `SASRec` does; see there. Gated convolutions read the history, as in `CNN`. From what they read, a gated
    recurrent cell tells the next item; then, given that item, the one after it, and so on. In training all of these count alike, at every
    place of a sequence. The user's vector is the one that tells the next item. It is meant for logs in which the order of the next few
    items is loose; compare it with `CNN`. A step takes `num_ahead` times as long, where the catalogue is large.

    Its other settings are those of `recsdk.encoders.settings.SequenceSettings`.

    Attributes:
        num_layers: convolutions.
        window: places that each looks at.
        num_ahead: items that are told one after another.

    References:
        Sutskever, Vinyals, Le, Sequence to Sequence Learning with Neural Networks, NIPS 2014; Gehring, Auli, Grangier, Dauphin, A
        Convolutional Encoder Model for Neural Machine Translation, ACL 2017 (convolutions read, a recurrent network tells).

    Example:
        >>> from recsdk.data import items_from_rows, requests_table
        >>> encoder = Seq2Seq(dim=8)
        >>> encoder.encode_requests(encoder.init(), requests_table([{"history": ["film-1", "film-7"]}])).shape
        (1, 8)
    """

    num_layers: int = attrs.field(default=4, validator=integer(at_least=1))
    window: int = attrs.field(default=3, validator=integer(at_least=2))
    num_ahead: int = attrs.field(default=3, validator=integer(at_least=1))

    @property
    def shape(self) -> DecoderShape:
        """The architecture."""
        is_tied = self.output == "tied"
        reader = ConvolutionShape(dim=self.dim, num_layers=self.num_layers, window=self.window, max_length=self.max_length, is_tied=is_tied)
        return DecoderShape(reader=reader, num_ahead=self.num_ahead)

    init = _sequential.init
    fit = _sequential.fit
    encode_requests = _sequential.encode_requests
    encode_items = _sequential.encode_items
