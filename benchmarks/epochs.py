"""How long an epoch of SASRec takes, beside the same network in plain PyTorch: `python benchmarks/epochs.py --data FOLDER`.

ml-100k, all but each user's last item; 64 wide, 2 layers, 50 places, all trained at once against a full softmax, batches of 128, float32,
and a validation at the end. Epochs of both take turns; both have as many threads as there are cores. The processor's seconds are of all
cores, and for recsdk with all that `fit` does besides. A line says so where the machine has other work. PyTorch may be in another
interpreter: `--torch-python PATH`. Where it is missing, it is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import encoders
import numpy as np
import report
import timing

from recsdk.base import Events
from recsdk.encoders.sasrec import SASRec
from recsdk.ranking import leave_one_out

CONTROL = Path(__file__).parent / "peers" / "torch_sasrec.py"
OURS = SASRec(dim=64, num_layers=2, num_heads=2, max_length=50, batch_size=128, epochs=1, patience=0, precision="float32", progress=False)
NAMES = ("dim", "num_layers", "num_heads", "max_length", "batch_size", "dropout", "learning_rate", "weight_decay", "clip_norm")


def data_of(log: Events) -> dict[str, np.ndarray]:
    """Returns the same work for the control: windows to train on, and half of the users, whose last item validates."""
    order = np.argsort(log.time, kind="stable")
    users = log.requests["user_id"][order]
    parts = [1 + log.item[order[users == user]] for user in dict.fromkeys(users.tolist())]
    held, length = parts[: len(parts) // 2], OURS.max_length
    trained = [part[:-1] for part in held] + parts[len(held) :]
    rows = np.stack([_padded(part[-length - 1 :] if len(part) > length else np.append(0, part), length + 1) for part in trained])
    shown = [np.append(0, part[:-1][1 - length :]) for part in held]
    seen = np.zeros((len(held), len(log.items.ids) + 1), bool)
    for row, part in zip(seen, held, strict=True):
        row[part[:-1]] = True
    return {
        "rows": rows,
        "tokens": np.stack([_padded(tokens, length) for tokens in shown]),
        "last": np.array([len(tokens) - 1 for tokens in shown]),
        "target": np.array([part[-1] for part in held]),
        "seen": seen,
    }


def _padded(row: np.ndarray, length: int) -> np.ndarray:
    return np.pad(row, (0, length - len(row)))


@contextmanager
def control(python: str, data: dict[str, np.ndarray]) -> Iterator[subprocess.Popen[str] | None]:
    """Starts PyTorch's; None where that interpreter does not have it."""
    if subprocess.run([python, "-c", "import torch, numpy"], capture_output=True, check=False).returncode:  # noqa: S603  (the user's own)
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        settings = {name: getattr(OURS, name) for name in NAMES} | {"threads": len(os.sched_getaffinity(0))}
        (Path(folder) / "settings.json").write_text(json.dumps(settings))
        np.savez(Path(folder) / "data.npz", **data)  # type: ignore[arg-type]
        command = [python, str(CONTROL), str(Path(folder) / "data.npz"), str(Path(folder) / "settings.json")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  (our own script)
            yield process


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Reads a line of the control."""
    assert process.stdout is not None  # noqa: S101 -- for types
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("the control in PyTorch has ended; its error stands above")
    found: dict[str, Any] = json.loads(line)
    return found


def measure(log: Events, python: str, rounds: int) -> list[dict[str, Any]]:
    """Returns a row for each contestant; the first epoch, which compiles, does not count."""
    taken: dict[str, list[tuple[float, float]]] = {"recsdk": []}
    with control(python, data_of(log)) as process:
        version = answer(process)["torch"] if process else None
        for number in range(rounds + 1):
            begun = time.process_time()
            seconds = float(OURS.fit(log, seed=0).history[0, 2])
            taken["recsdk"] += [(seconds, time.process_time() - begun)] * (number > 0)
            if process:
                assert process.stdin is not None  # noqa: S101 -- for types
                print("go", file=process.stdin, flush=True)
                theirs = answer(process)
                taken.setdefault(f"PyTorch {version}", []).extend([(theirs["seconds"], theirs["cpu"])] * (number > 0))
        if process and process.stdin:
            process.stdin.close()
    return [_row(name, those, taken["recsdk"]) for name, those in taken.items()]


def _row(name: str, those: Sequence[tuple[float, float]], ours: Sequence[tuple[float, float]]) -> dict[str, Any]:
    (wall, cpu), (our_wall, our_cpu) = (zip(*pairs, strict=True) for pairs in (those, ours))
    return {
        "contestant": name,
        **timing.quartiles(wall)._asdict(),
        "ratio": timing.ratio(wall, our_wall),
        "cpu": statistics.median(cpu),
        "cpu_ratio": timing.ratio(cpu, our_cpu),
    }


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Returns a line for each contestant."""
    lines = report.header(["ml-100k, 50 places", "s for an epoch", "of recsdk", "s of the processor", "of recsdk"])
    for row in rows:
        low, median, high = (report.rounded(row[name]) for name in ("low", "median", "high"))
        rest = (report.rounded(row[name]) for name in ("ratio", "cpu", "cpu_ratio"))
        lines.append(report.line([row["contestant"], f"{median} ({low} to {high})", *rest]))
    return lines


def busy(machine: dict[str, Any]) -> list[str]:
    """Returns a line that warns of other work on the machine, where there is as much as it has cores."""
    if machine["load"] <= (machine["cores"] or 1):
        return []
    return ["The machine had other work, more than one process a core: trust the ratios only, and those little."]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("RECSDK_SHARED", "../shared")) / "data", help="the data sets")
    parser.add_argument("--torch-python", default=sys.executable, help="an interpreter that has PyTorch; %(default)s")
    parser.add_argument("--quick", action="store_true", help="two epochs of few users, and rough")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--write", action="store_true", help="put the table into docs/ranking-quality.md")
    chosen = parser.parse_args(arguments)
    machine = report.machine(("recsdk", "numpy", "jax", "optax"))
    log = leave_one_out(encoders.read("ml-100k", chosen.data, 60 if chosen.quick else None)).refit
    rows = measure(log, chosen.torch_python, 2 if chosen.quick else 15)
    told = " ".join(["python benchmarks/epochs.py", *["--quick"] * chosen.quick])
    missing = ["", "PyTorch is left out, since this interpreter does not have it: `--torch-python PATH` names another."] * (len(rows) == 1)
    text = "\n".join([f"`{told}` on {report.described(machine)}.", *busy(machine), "", *table(rows), *missing])
    print(json.dumps({"machine": machine, "rows": rows}, indent=1) if chosen.json else text)
    if chosen.write:
        report.write(encoders.PAGE, "epochs", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
