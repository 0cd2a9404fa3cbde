"""The page of ranking quality shows the rows that were kept."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_the_table_of_the_kept_rows():
    command = [sys.executable, "benchmarks/encoders.py", "--from", "benchmarks/kept/encoders-h200.json"]
    table = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S603  (its own script)
    assert "| sasrec-windows |" in table
    assert table in (ROOT / "docs/ranking-quality.md").read_text()


def test_deep_rows_without_a_counting_model_to_compare_with_make_a_table_too(tmp_path):
    rows = json.loads((ROOT / "benchmarks/kept/encoders-h200.json").read_text())
    row = next(row for row in rows if "difference" in row)
    del row["difference"], row["against"]
    (tmp_path / "rows.json").write_text(json.dumps([row]))
    command = [sys.executable, "benchmarks/encoders.py", "--from", str(tmp_path / "rows.json")]
    table = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S603  (its own script)
    assert f"| {row['model']} |" in table
