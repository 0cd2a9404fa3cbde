#!/usr/bin/env bash
# In a JSON list, null and objects do not count in Vowpal Wabbit's numbering of the list's numbers, but 0 does.
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

SEVEN = 7.0


def place(values):
    """Returns the feature number that 7 gets as an element of a list, less the number that the first element of a list gets."""
    vw = pyvw.Workspace("--quiet --cb_explore_adf --dsjson")
    numbers = []
    for each in ([SEVEN], values):
        context = {"shared": {"list": each}, "_multi": [{"i": {"name": "a"}}, {"i": {"name": "b"}}]}
        examples = vw.parse(json.dumps({"_label_cost": 0, "_label_probability": 0.5, "_label_Action": 1, "_labelIndex": 0,
                                        "a": [1, 2], "p": [0.5, 0.5], "c": context}))
        numbers.append(next(number for number, value in examples[0].iter_features() if value == SEVEN))
        vw.finish_example(examples)
    vw.finish()
    return numbers[1] - numbers[0]


print("vowpalwabbit", version("vowpalwabbit"))
expected = {"[5, 7]": 1, "[0, 7]": 1, "[null, 7]": 0, "[5, null, 7]": 1, '[{"x": 1}, 7]': 0, '[5, {"x": 1}, 7]': 1}
found = {text: place(json.loads(text)) for text in expected}
for text, index in found.items():
    print(f"{text:18} 7 has index {index}")
sys.exit(found != expected)
END
cd "$folder"
venv/bin/python show.py
