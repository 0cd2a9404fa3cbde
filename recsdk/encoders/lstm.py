"""A long short-term memory over what the user took."""

from __future__ import annotations

import attrs

from recsdk.checks import integer
from recsdk.encoders import _sequential
from recsdk.encoders._recurrent import RecurrentShape
from recsdk.encoders.settings import SequenceSettings


@attrs.frozen(kw_only=True)
class LSTM(SequenceSettings):
    """Learns a user's vector from the order in which items were taken, by a recurrent network with a memory beside its state.

    It reads, trains and serves as `SASRec` does, see there, and it is `GRU` with a third more parameters: try it where `GRU` forgets
    too soon.

    Its other settings are those of `recsdk.encoders.settings.SequenceSettings`.

    Attributes:
        num_layers: recurrent layers.

    References:
        Hochreiter and Schmidhuber, Long Short-Term Memory, Neural Computation 1997.

    Example:
        >>> from recsdk.data import items_from_rows, requests_table
        >>> encoder = LSTM(dim=8)
        >>> encoder.encode_requests(encoder.init(), requests_table([{"history": ["film-1", "film-7"]}])).shape
        (1, 8)
    """

    num_layers: int = attrs.field(default=1, validator=integer(at_least=1))

    @property
    def shape(self) -> RecurrentShape:
        """The architecture."""
        return RecurrentShape(
            dim=self.dim, num_layers=self.num_layers, max_length=self.max_length, is_tied=self.output == "tied", cell="lstm"
        )

    init = _sequential.init
    fit = _sequential.fit
    encode_requests = _sequential.encode_requests
    encode_items = _sequential.encode_items
