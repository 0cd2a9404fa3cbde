"""Training on several devices; eight of them are made of one CPU, in a process of its own."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recsdk.encoders import _sharding
from recsdk.encoders._factors import FactorShape
from recsdk.encoders._objective import NextItem
from recsdk.encoders.bert4rec import BERT4Rec
from recsdk.encoders.mf import MF
from recsdk.encoders.sasrec import SASRec
from recsdk.errors import InvalidValue
from tests.processes import run_python

TOLERANCE = 1e-4
"""Between a vector's coordinates after training on one device and on eight, which sum in another order; coordinates are about 0.2."""

ON_EIGHT = """
import json, os, tempfile
import jax, numpy as np
from recsdk.base import Events
from recsdk.encoders import _fitting, training
from recsdk.encoders._fitting import write as training_write
from recsdk.encoders.mf import MF
from tests.encoders.test_sequence_encoders import LOG

seen, step, put, on_device = [], training._compiled_steps, jax.device_put, []
def put_and_look(tree, *where):
    on_device.extend(type(leaf).__name__ for leaf in jax.tree.leaves(tree) if not isinstance(leaf, np.ndarray))
    return put(tree, *where)
jax.device_put = put_and_look
def record(objective, settings, params, moments, *rest):
    tables = params.table, params.output, *(leaf for leaf in jax.tree.leaves(moments) if leaf.ndim == 2)
    seen.append([[shard.data.shape[0] for shard in table.addressable_shards] for table in tables])
    return step(objective, settings, params, moments, *rest)
training._compiled_steps = record

common = dict(dim=16, max_length=8, batch_size=32, learning_rate=0.02, warmup_steps=5, dropout=0.2, epochs=2, progress=False)
one, eight = (MF(devices=devices, **common).fit(LOG) for devices in (1, 8))
programs, on_device_then, seen_then = step._cache_size(), list(on_device), list(seen)

def apart(one, other):
    return max(float(np.abs(getattr(one.params, name) - getattr(other.params, name)).max()) for name in ("table", "output"))

few = {user for user in list(dict.fromkeys(LOG.requests["user_id"].tolist()))[:30]}
kept = np.array([user in few for user in LOG.requests["user_id"].tolist()])
small = Events({"user_id": LOG.requests["user_id"][kept]}, LOG.items, LOG.item[kept], LOG.reward[kept], LOG.time[kept])
uneven = common | dict(loss="sampled", num_negatives=8, accumulate=2)
filled = apart(*(MF(devices=devices, **uneven).fit(small) for devices in (1, 8)))

path = os.path.join(tempfile.mkdtemp(), "training")
def interrupted(path, now, notes, write=training_write):
    write(path, now, notes)
    raise KeyboardInterrupt
_fitting.write = interrupted
try:
    MF(devices=8, checkpoint=path, **common).fit(LOG)
except KeyboardInterrupt:
    _fitting.write = training_write
resumed = MF(devices=1, checkpoint=path, **common).fit(LOG)
print(json.dumps({
    "filled": filled,
    "resumed": apart(one, resumed),
    "on_device": on_device_then,
    "devices": jax.device_count(),
    "apart": [float(np.abs(getattr(one.params, name) - getattr(eight.params, name)).max()) for name in ("table", "output")],
    "moved": float(np.abs(one.params.output - MF(**common).init().params.output[0]).max()),
    "history": np.abs(one.history[:, :2] - eight.history[:, :2]).max(),
    "rows": [len(one.params.table), len(eight.params.table)],
    "programs": programs,
    "seen": seen_then,
}))
"""


@pytest.fixture(scope="module")
def on_eight():
    flags = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"  # compiled in a hurry
    done = run_python("-W", "ignore", "-c", ON_EIGHT, XLA_FLAGS=flags, JAX_PLATFORMS="cpu")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_eight_devices_train_the_model_of_one(on_eight):
    assert on_eight["devices"] == 8
    assert max(on_eight["apart"]) < TOLERANCE < 0.02 < on_eight["moved"]
    assert on_eight["history"] < TOLERANCE
    assert on_eight["rows"] == [21, 21]  # what was filled up is cut off


def test_rows_that_fill_up_a_part_of_a_batch_count_for_nothing(on_eight):
    assert on_eight["filled"] < TOLERANCE  # thirty rows in two parts of fifteen, by eight devices


def test_a_training_goes_on_with_another_number_of_devices(on_eight):
    assert on_eight["resumed"] < TOLERANCE


def test_what_goes_to_devices_has_not_been_on_one_of_them(on_eight):
    assert not on_eight["on_device"]


def test_each_device_has_an_eighth_of_the_tables_and_of_the_optimisers_moments(on_eight):
    first = len(on_eight["seen"]) // 2
    assert all(rows == [21] for call in on_eight["seen"][:first] for rows in call)
    assert all(rows == [3] * 8 for call in on_eight["seen"][first:] for rows in call)
    assert {len(call) for call in on_eight["seen"]} == {6}
    assert on_eight["programs"] == 2  # tables stay where they are, so that no epoch is compiled again


@pytest.mark.parametrize("loss", ["softmax", "sampled"])
def test_rows_that_fill_up_a_table_count_for_nothing(loss):
    shape = FactorShape(dim=4, max_length=4, is_tied=False, recency_decay=0.5)
    params, tokens = shape.init(np.random.default_rng(0), 6), np.array([[0, 1, 2, 3, 5]], np.int32)
    wide = _sharding.filled(params, 4)
    assert len(wide.table) == len(wide.output) == 8
    wide = wide._replace(output=np.concatenate([params.output, np.full((2, 4), 9, np.float32)]))

    def value(params, num_rows):
        objective = NextItem(
            shape=shape, loss_name=loss, num_negatives=64, is_cosine=False, temperature=1.0, dropout=0.0, dtype="float32", num_rows=num_rows
        )
        return jax.jit(objective.loss)(params, jnp.asarray(tokens), jax.random.key(0))

    wanted = value(params, 0)
    np.testing.assert_allclose(value(wide, 6), wanted, rtol=1e-6)
    assert loss == "sampled" or abs(value(wide, 0) - wanted) > 1e-3


def test_more_devices_than_there_are_is_refused():
    from tests.encoders.test_sequence_encoders import LOG

    num = jax.device_count()
    with pytest.raises(InvalidValue, match=rf"devices must be at most the number of devices that JAX has, {num}, got {num + 1}"):
        MF(devices=num + 1, dim=4, progress=False).fit(LOG)


def test_far_too_many_devices_are_refused_before_there_are_rows_for_so_many():
    from tests.encoders.test_sequence_encoders import LOG

    with pytest.raises(InvalidValue, match=r"devices must be at most .* got 1000000000000"):
        MF(devices=10**12, dim=4, progress=False).fit(LOG)


@pytest.mark.parametrize("encoder", [BERT4Rec, SASRec])
def test_rows_without_items_have_no_loss_and_no_slope(encoder):
    shape = encoder(dim=4, num_layers=1, max_length=4).shape
    objective = NextItem(shape=shape, loss_name="softmax", num_negatives=8, is_cosine=True, temperature=0.1, dropout=0.0, dtype="float32")
    params = shape.init(np.random.default_rng(0), 6)
    loss, slope = jax.jit(jax.value_and_grad(objective.loss))(params, jnp.zeros((2, 5), jnp.int32), jax.random.key(0))
    assert loss == 0
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(slope))


def test_devices_are_no_part_of_what_an_encoder_is():
    assert MF(devices=8) == MF()
    assert repr(MF(devices=8)) == repr(MF())
