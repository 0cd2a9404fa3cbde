#!/usr/bin/env bash
# The literal 1.5 is a DECIMAL in DuckDB: fetchall and Arrow give decimals, fetchnumpy gives floats.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "duckdb==2.0.1" numpy pyarrow
cat > "$folder/show.py" <<'END'
import sys
from decimal import Decimal

import duckdb

QUERY = "select 1.5 as x"
print("duckdb", duckdb.__version__)
kind, (row,) = str(duckdb.sql(QUERY).types[0]), duckdb.sql(QUERY).fetchall()
arrow, array = duckdb.sql(QUERY).to_arrow_table().schema.field("x").type, duckdb.sql(QUERY).fetchnumpy()["x"]
print(f"{QUERY}: the type is {kind}; fetchall gives {row[0]!r}, Arrow {arrow}, fetchnumpy {array.dtype}")
sys.exit((kind, row[0], str(arrow), str(array.dtype)) != ("DECIMAL(2,1)", Decimal("1.5"), "decimal128(2, 1)", "float64"))
END
cd "$folder"
venv/bin/python show.py
