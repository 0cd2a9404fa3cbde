"""The built-in encoders under the conformance kit."""

import pytest

from recsdk import testing
from recsdk.encoders.bert4rec import BERT4Rec
from recsdk.encoders.cnn import CNN
from recsdk.encoders.gru import GRU
from recsdk.encoders.lstm import LSTM
from recsdk.encoders.mf import MF
from recsdk.encoders.sasrec import SASRec
from recsdk.encoders.seq2seq import Seq2Seq
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


@pytest.mark.slow  # `test_sequence_encoders` runs most of the laws on its own small log, so that a program is compiled once
@pytest.mark.timeout(600)
@testing.parametrize_encoders(
    LSTM(dropout=0.0, **TRAINING),
    CNN(dropout=0.0, **TRAINING),
    MF(dropout=0.0, **TRAINING),
    Seq2Seq(dropout=0.0, **TRAINING),
    BERT4Rec(num_layers=1, dropout=0.0, **{**TRAINING, "epochs": 40}),
)
def test_conforms_in_other_processes_too(encoder, check):
    check(encoder)
