"""The template of a recsdk plugin: one scorer and one policy."""

from recsdk_example.price_match import PriceMatch
from recsdk_example.sgd_softmax import SgdSoftmax

__all__ = ["PriceMatch", "SgdSoftmax"]
