#!/usr/bin/env bash
# JAX on the CPU: two `.at[].set` on the product with a table that is split by rows over devices count wrongly; `jnp.where` counts rightly.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "jax==0.10.2" "numpy==2.4.6"
cat > "$folder/show.py" <<'END'
import os
import sys

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
os.environ["JAX_PLATFORMS"] = "cpu"
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

NUM, LOW = 21, -1e9  # rows that are items; the others fill the table up to a multiple of 8
rows = np.arange(24 * 4, dtype=np.float32).reshape(24, 4)
users = np.ones((1, 5, 4), np.float32)


def by_set(scores):
    return scores.at[..., NUM:].set(LOW).at[..., 0].set(LOW)


def by_where(scores):
    place = jnp.arange(scores.shape[-1])
    return jnp.where((place >= NUM) | (place == 0), LOW, scores)


def ranks(table, mask):
    """How many rows score at least as high as row 3, for each user."""

    def part(x):
        scores = mask(x @ table.T)
        own = jnp.take_along_axis(scores, jnp.full((len(x), 1), 3), axis=1)
        return (~(scores < own)).sum(1)

    return jax.lax.map(part, users)


mesh = Mesh(np.array(jax.devices()), ("rows",), axis_types=(AxisType.Auto,))
split = jax.device_put(rows, NamedSharding(mesh, PartitionSpec("rows")))
found = {}
for name, mask in (("set", by_set), ("where", by_where)):
    for kind, table in (("one device", jnp.asarray(rows)), ("eight devices", split)):
        found[name, kind] = np.asarray(jax.jit(ranks, static_argnums=1)(table, mask)).ravel().tolist()
        print(f"jax {jax.__version__}, {name}, {kind}: {found[name, kind]}")
true = [sum(3 <= row < NUM for row in range(24))] * 5
print("by hand:", true)
wrong = found.pop(("set", "eight devices"))
sys.exit(not (all(right == true for right in found.values()) and wrong != true))
END
cd "$folder"
venv/bin/python show.py
