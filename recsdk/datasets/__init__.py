"""Readers of logs and data sets; one small log ships with the package (`load_open_bandit`)."""

from recsdk.datasets.forms import Atomic, Delimited, Sequences
from recsdk.datasets.frames import log_from_frame
from recsdk.datasets.interactions import read_events, read_items, read_log, read_log_chunks
from recsdk.datasets.jester import read_jester
from recsdk.datasets.movielens import read_movielens
from recsdk.datasets.open_bandit import OpenBandit, bernoulli_ts_probs, load_open_bandit, read_open_bandit
from recsdk.datasets.reading import read_rows
from recsdk.datasets.schema import Column, Schema, describe
from recsdk.datasets.supervised import read_pmlb
from recsdk.rows import Rows, SetAside

__all__ = [
    "Atomic",
    "Column",
    "Delimited",
    "OpenBandit",
    "Rows",
    "Schema",
    "Sequences",
    "SetAside",
    "bernoulli_ts_probs",
    "describe",
    "load_open_bandit",
    "log_from_frame",
    "read_events",
    "read_items",
    "read_jester",
    "read_log",
    "read_log_chunks",
    "read_movielens",
    "read_open_bandit",
    "read_pmlb",
    "read_rows",
]
