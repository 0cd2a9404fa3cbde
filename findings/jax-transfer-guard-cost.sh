#!/usr/bin/env bash
# Entering jax.transfer_guard takes many times as long as entering jax.enable_x64 or jax.threefry_partitionable.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "jax==0.10.2"
cat > "$folder/show.py" <<'END'
import sys
import time

import jax


def microseconds(enter):
    """Returns the least mean time of 15 runs of 2,000 entries each."""
    runs = []
    for _ in range(15):
        began = time.perf_counter()
        for _ in range(2_000):
            with enter():
                pass
        runs.append((time.perf_counter() - began) / 2_000 * 1e6)
    return min(runs)


print("jax", jax.__version__)
found = {
    "enable_x64(True)": microseconds(lambda: jax.enable_x64(True)),
    "threefry_partitionable(True)": microseconds(lambda: jax.threefry_partitionable(True)),
    'transfer_guard("allow")': microseconds(lambda: jax.transfer_guard("allow")),
}
for name, cost in found.items():
    print(f"{name:30} {cost:7.2f} us")
ratio = found['transfer_guard("allow")'] / found["enable_x64(True)"]
print(f"transfer_guard / enable_x64: {ratio:.0f}")
sys.exit(ratio < 3)
END
cd "$folder"
venv/bin/python show.py
