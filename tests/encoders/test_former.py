"""Two-tower models in the form in which they were written first."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsdk import states
from recsdk.data import events_from_rows, items_from_rows
from recsdk.encoders._bags import each
from recsdk.encoders.former import MAGIC
from recsdk.encoders.two_tower import TwoTower
from recsdk.errors import LedgerCorrupt, LedgerMismatch

ENCODER = TwoTower(dim=4, num_buckets=8, hidden=(3,), progress=False)
ITEMS = items_from_rows([{"id": "a", "price": 3.0}, {"id": "b", "price": 5.0}])
EVENTS = events_from_rows(ITEMS, [{"item": "a", "time": 0.0, "reward": 0.0, "user_id": "u"}])
STATE = ENCODER.fit(EVENTS, seed=1)


def in_the_former_form(state):
    arrays = [array for tower in (state.user, state.item) for array in (tower.table, *tower.weights, *tower.biases)]
    arrays += [state.centre, state.scale]
    header = {"user": each(state.user.columns), "item": each(state.item.columns), "notes": {"loss": 0.5, "skipped": 2}}
    text = json.dumps(header | {"arrays": [array.shape for array in arrays]}, sort_keys=True).encode()
    body = b"".join([len(text).to_bytes(4, "little"), text, *(array.astype("<f4").tobytes() for array in arrays)])
    return MAGIC + hashlib.blake2b(body, digest_size=16).digest() + body


DATA = in_the_former_form(STATE)


def read(data, encoder=ENCODER):
    return states.loads(encoder, encoder.fit(events_from_rows(items_from_rows([]), [])), data)


def test_a_model_in_the_former_form_is_the_model():
    state = read(DATA)
    assert (float(state.loss), int(state.skipped)) == (0.5, 2)
    assert states.dumps(ENCODER, state._replace(loss=STATE.loss, skipped=STATE.skipped)) == states.dumps(ENCODER, STATE)
    np.testing.assert_array_equal(ENCODER.encode_items(state, ITEMS), ENCODER.encode_items(STATE, ITEMS))
    assert np.isfinite(ENCODER.fit(EVENTS._replace(reward=np.ones(1)), state=state).centre).all()


@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused(place, change):
    damaged = bytearray(DATA)
    damaged[place] ^= change
    with pytest.raises(LedgerCorrupt):
        read(bytes(damaged))


@given(st.integers(0, len(DATA) - 1))
def test_truncated_bytes_are_refused(size):
    with pytest.raises(LedgerCorrupt):
        read(DATA[:size])


@pytest.mark.parametrize("change", [{"dim": 8}, {"num_buckets": 32}, {"hidden": (4,)}])
def test_a_model_of_other_sizes_is_refused(change):
    options = {"dim": 4, "num_buckets": 8, "hidden": (3,), **change}
    with pytest.raises(LedgerMismatch, match="dim, num_buckets or hidden differ"):
        read(DATA, TwoTower(**options))
