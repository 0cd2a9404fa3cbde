#!/usr/bin/env bash
# DuckDB reads an object that gives an Arrow stream without pyarrow, but not a polars frame, which gives the same stream.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "duckdb==2.0.1" "polars==1.42.1"
cat > "$folder/show.py" <<'END'
import sys

import duckdb
import polars

frame = polars.DataFrame({"x": [1, 2]})


class Stream:
    def __arrow_c_stream__(self, requested_schema=None):
        return frame.__arrow_c_stream__(requested_schema)


def told(read):
    try:
        return read().fetchall()
    except duckdb.InvalidInputException as error:
        return str(error)


stream = Stream()
print("duckdb", duckdb.__version__, "polars", polars.__version__, "without pyarrow")
found = [
    told(lambda: duckdb.sql("select sum(x) from stream")),
    told(lambda: duckdb.sql("select sum(x) from frame")),
    told(lambda: duckdb.from_arrow(frame)),
]
for name, answer in zip(("an object with the frame's stream", "the frame by its name", "duckdb.from_arrow(frame)"), found):
    print(f"{name}: {answer}")
sys.exit(found[0] != [(3,)] or not all("No module named 'pyarrow'" in answer for answer in found[1:]))
END
cd "$folder"
venv/bin/python show.py
