#!/usr/bin/env bash
# With --coin, Vowpal Wabbit accepts --power_t, --initial_t, --l1 and --l2, and its predictions stay the same.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "vowpalwabbit==9.11.9"
cat > "$folder/show.py" <<'END'
import sys
from importlib.metadata import version

from vowpalwabbit import pyvw


def predictions(options):
    """Returns the predictions of squared-loss regression, each made before its label is learned."""
    vw = pyvw.Workspace("--quiet " + options)
    found = []
    for row in range(300):
        features = f"| a:{row % 7} b:{(row * row) % 5} c"
        found.append(vw.predict(features))
        vw.learn(f"{(row % 7) - 0.5 * ((row * row) % 5)} {features}")
    vw.finish()
    return found


print("vowpalwabbit", version("vowpalwabbit"))
as_told = True
for learner in ("", "--coin"):
    for option in ("--power_t 0.1", "--initial_t 5", "--l1 0.01", "--l2 0.01"):
        same = predictions(learner) == predictions(f"{learner} {option}")
        print(f"{learner or 'gradient descent':16} {option:15} {'same predictions' if same else 'other predictions'}")
        as_told &= same == bool(learner)
sys.exit(not as_told)
END
cd "$folder"
venv/bin/python show.py
