"""The template of a recsdk plugin: one scorer and one policy."""

from recsdk_example.boltzmann import Boltzmann
from recsdk_example.price_match import PriceMatch

__all__ = ["Boltzmann", "PriceMatch"]
