"""Vowpal Wabbit's contextual bandits as policies of recsdk: one config, `VW`, and a name for each of its explorations."""

from functools import partial

from recsdk_vw.policy import VW

epsilon = partial(VW, exploration="epsilon")
softmax = partial(VW, exploration="softmax")
bag = partial(VW, exploration="bag")
cover = partial(VW, exploration="cover")
squarecb = partial(VW, exploration="squarecb")
regcb = partial(VW, exploration="regcb")
rnd = partial(VW, exploration="rnd")
first = partial(VW, exploration="first")

__all__ = ["VW", "bag", "cover", "epsilon", "first", "regcb", "rnd", "softmax", "squarecb"]
