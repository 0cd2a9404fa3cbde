#!/usr/bin/env bash
# In dsjson the order of the keys decides: a cb label counts before the context only, CCB outcomes after it only. `_deferred` changes nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "vowpalwabbit==9.11.9"
cat > "$folder/show.py" <<'END'
import json
import sys
from importlib.metadata import version

from vowpalwabbit import pyvw

ITEMS = [{"A": {"name": "x"}}, {"A": {"name": "y"}}]
CONTEXT = {"GUser": {"name": "u"}, "_multi": ITEMS}
SLOTS = {**CONTEXT, "_slots": [{"S": {"place": "1"}}, {"S": {"place": "2"}}]}
LABEL = {"_label_cost": -1.0, "_label_probability": 0.5, "_label_Action": 1, "_labelIndex": 0, "a": [1, 2], "p": [0.5, 0.5]}
OUTCOMES = {"_outcomes": [{"_label_cost": -1.0, "_a": [0, 1], "_p": [0.5, 0.5]}, {"_label_cost": 0.0, "_a": [1], "_p": [1.0]}]}


def learned(options, *lines):
    """Returns how many examples VW counts with a label or without, and the sum of its losses."""
    with open("log.dsjson", "w") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    vw = pyvw.Workspace(f"--quiet --dsjson {options} -d log.dsjson")
    found = vw.get_weighted_examples(), round(vw.get_sum_loss(), 3)
    vw.finish()
    return found


print("vowpalwabbit", version("vowpalwabbit"))
cb, ccb = "--cb_explore_adf", "--ccb_explore_adf"
before, after = {**LABEL, "c": CONTEXT}, {"c": CONTEXT, **LABEL}
found = {
    "cb, label before c": learned(cb, before, before, before),
    "cb, one of three after c": learned(cb, before, after, before),
    "cb, one of three deferred": learned(cb, before, {"_deferred": True, **before}, before),
    "cb, one of three to skip": learned(cb, before, {"_skipLearn": True, **before}, before),
    "ccb, outcomes after c": learned(ccb, {"c": SLOTS, **OUTCOMES}),
    "ccb, outcomes before c": learned(ccb, {**OUTCOMES, "c": SLOTS}),
}
for text, (num, loss) in found.items():
    print(f"{text:26} examples {num:g}, sum of losses {loss:g}")
whole = found["cb, label before c"]
sys.exit(not (
    found["cb, one of three after c"][0] == whole[0] == 3  # counted, but not as a loss: its label is not seen
    and found["cb, one of three after c"][1] > whole[1]
    and found["cb, one of three deferred"] == whole
    and found["cb, one of three to skip"][0] == 2
    and found["ccb, outcomes after c"][0] == 1
    and found["ccb, outcomes before c"] == (0, 0)
))
END
cd "$folder"
venv/bin/python show.py
