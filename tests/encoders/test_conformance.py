"""The built-in encoders under the conformance kit."""

import pytest

from recsdk import testing
from recsdk.encoders.gru import GRU
from recsdk.encoders.sasrec import SASRec
from recsdk.encoders.two_tower import TwoTower

TRAINING = {"dim": 8, "max_length": 8, "epochs": 10, "warmup_steps": 0, "learning_rate": 0.02, "progress": False}


@pytest.mark.timeout(240)  # two other processes compile what this one does
@testing.parametrize_encoders(
    TwoTower(dim=8, num_buckets=512, epochs=1, progress=False),
    SASRec(num_layers=1, num_heads=2, **TRAINING),
    GRU(dropout=0.0, **TRAINING),
)
def test_conforms(encoder, check):
    check(encoder)
