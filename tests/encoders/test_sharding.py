"""Training on several devices; eight of them are made of one CPU, in a process of its own."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recsdk.encoders._factors import FactorShape
from recsdk.encoders._fitting import _filled
from recsdk.encoders._objective import NextItem
from recsdk.encoders.mf import MF
from recsdk.errors import InvalidValue
from tests.processes import run_python

TOLERANCE = 1e-4
"""Between a vector's coordinates after training on one device and on eight, which sum in another order; coordinates are about 0.2."""

ON_EIGHT = """
import json
import jax, numpy as np
from recsdk.encoders import training
from recsdk.encoders.mf import MF
from tests.encoders.test_sequence_encoders import LOG

seen, step = [], training._compiled_steps
def record(objective, settings, params, moments, *rest):
    tables = params.table, params.output, *(leaf for leaf in jax.tree.leaves(moments) if leaf.ndim == 2)
    seen.append([[shard.data.shape[0] for shard in table.addressable_shards] for table in tables])
    return step(objective, settings, params, moments, *rest)
training._compiled_steps = record

common = dict(dim=16, max_length=8, batch_size=32, learning_rate=0.02, warmup_steps=5, dropout=0.2, epochs=2, progress=False)
one, eight = (MF(devices=devices, **common).fit(LOG) for devices in (1, 8))
print(json.dumps({
    "devices": jax.device_count(),
    "apart": [float(np.abs(getattr(one.params, name) - getattr(eight.params, name)).max()) for name in ("table", "output")],
    "moved": float(np.abs(one.params.output - MF(**common).init().params.output[0]).max()),
    "history": np.abs(one.history[:, :2] - eight.history[:, :2]).max(),
    "rows": [len(one.params.table), len(eight.params.table)],
    "programs": step._cache_size(),
    "seen": seen,
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
    wide = _filled(params, 4)
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


def test_devices_are_no_part_of_what_an_encoder_is():
    assert MF(devices=8) == MF()
    assert repr(MF(devices=8)) == repr(MF())
