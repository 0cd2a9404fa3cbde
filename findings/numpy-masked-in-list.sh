#!/usr/bin/env bash
# NumPy reads numpy.ma.masked in a list as NaN, with a warning; asarray of a masked array drops the mask silently.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "numpy==2.4.6"
cat > "$folder/show.py" <<'END'
import sys
import warnings

import numpy as np

print("numpy", np.__version__)
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    array = np.asarray([1.0, np.ma.masked, 3.0])
print("asarray([1.0, masked, 3.0]):", array, [str(each.message) for each in told])
as_told = np.isnan(array[1]) and len(told) == 1

with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    array = np.asarray(np.ma.array([1.0, 2.0], mask=[False, True]))
print("asarray(masked array [1.0, --]):", array, [str(each.message) for each in told])
sys.exit(not (as_told and array[1] == 2.0 and not told))
END
cd "$folder"
venv/bin/python show.py
