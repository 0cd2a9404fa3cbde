"""Vowpal Wabbit's contextual bandits as policies of recsdk: one config, `VW`, and a name for each of its explorations.

Beside them what connects to the rest of Vowpal Wabbit's world: model files, its driver, and decision-service logs.
"""

from functools import partial

from recsdk_vw.driver import Drive, drive
from recsdk_vw.dsjson import DecisionLog, read_dsjson, write_dsjson
from recsdk_vw.encoding import Hashing, Numbers
from recsdk_vw.files import FileReplay, replay_log, write_log
from recsdk_vw.models import save_model
from recsdk_vw.policy import VW

epsilon = partial(VW, exploration="epsilon")
softmax = partial(VW, exploration="softmax")
bag = partial(VW, exploration="bag")
cover = partial(VW, exploration="cover")
squarecb = partial(VW, exploration="squarecb")
regcb = partial(VW, exploration="regcb")
rnd = partial(VW, exploration="rnd")
first = partial(VW, exploration="first")

__all__ = [
    "VW",
    "DecisionLog",
    "Drive",
    "FileReplay",
    "Hashing",
    "Numbers",
    "bag",
    "cover",
    "drive",
    "epsilon",
    "first",
    "read_dsjson",
    "regcb",
    "replay_log",
    "rnd",
    "save_model",
    "softmax",
    "squarecb",
    "write_dsjson",
    "write_log",
]
