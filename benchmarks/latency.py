"""How long a request takes with a sequence encoder: `python benchmarks/latency.py`, a minute.

100,000 items in clusters, SASRec of 64 numbers and 2 layers, three scorers, lin-ts, 100 candidates, histories of 50 items; what is decided
survives a crash of the process, without an fsync. All take turns in one process. A busy machine stretches the processor's time less, and
that of the tenth of the requests that took least (p10) least.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import command
import numpy as np
import report
from retrieval_contestants import DIM, vectors_of

import recsdk
from recsdk.data import requests_table
from recsdk.encoders.checkpoint import save
from recsdk.encoders.sasrec import SASRec
from recsdk.encoders.saved import Saved
from recsdk.vocabulary import numbers_of, vocabulary

SCORERS, LENGTH, NUM_CANDIDATES = ["popularity", "recency", "seq-item-knn"], 50, 100
WARM_UP = 50


def model(path: Path, num_items: int) -> tuple[SASRec, Any]:
    """Writes a model that knows all items to a file. It is not trained; its vectors lie in clusters, since those of models do.

    How many items `int8` has to score depends on how the vectors lie. The layers' weights change no time.
    """
    encoder, vectors = SASRec(dim=DIM), vectors_of(num_items + 1, 1)[0]
    known = vocabulary([str(number) for number in range(num_items)], np.arange(1, num_items + 1))
    params = encoder.shape.init(np.random.default_rng(0), num_items + 1)
    table = vectors * np.float32(params.table.std() / vectors.std())
    state = encoder.init()._replace(vocabulary=known, params=params._replace(table=table), centre=table[1:].mean(axis=0))
    save(path, encoder, state)
    return encoder, state


def opened(folder: Path, path: Path, num_items: int, retriever: Any) -> recsdk.Recommender:
    """Opens a recommender around that model, whose scorers know some history."""
    rng, now = random.Random(1), time.time()
    items = [{"id": str(number), "added": now - 1e7 * rng.random()} for number in range(num_items)]
    history = [
        {"item": str(rng.randrange(num_items)), "user_id": str(user), "time": now - 1e6 + 60 * place}
        for user in range(500)
        for place in range(20)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return recsdk.Recommender.open(
            folder,
            items=items,
            history=history,
            encoder=Saved(path=str(path)),
            scorers=SCORERS,
            policy="lin-ts",
            retriever=retriever,
            num_candidates=NUM_CANDIDATES,
            reward_range=(0, 1),
        )


def retrievers(num_items: int) -> Iterator[tuple[str, Any]]:
    """Yields those who are installed, by name: two that are exact, and one that looks through a sixteenth of the items."""
    yield from (("exact", "exact"), ("int8", "int8"))
    if importlib.util.find_spec("recsdk_faiss") and importlib.util.find_spec("faiss"):
        from recsdk_faiss import Faiss

        num_cells = max(num_items // 1000, 1)
        yield f"faiss IVF{num_cells}", Faiss(index=f"IVF{num_cells},Flat", effort=max(num_cells // 16, 1))


def measure(num_items: int, num_requests: int) -> list[dict[str, Any]]:
    """Returns a row for each kind of work, with percentiles in ms."""
    rng, taken = random.Random(2), dict[str, list[tuple[float, float]]]()

    def request() -> dict[str, Any]:
        return {"user_id": str(rng.randrange(500)), "history": [str(rng.randrange(num_items)) for _ in range(LENGTH)]}

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        encoder, state = model(folder / "model.safetensors", num_items)
        runs: dict[str, Callable[[dict[str, Any]], Any]] = {
            f"encode a history of {LENGTH}": lambda asked: encoder.encode_requests(state, requests_table([asked])),
            "the same by the whole network": lambda asked: _by_all_places(encoder, state, asked["history"]),
        }
        with contextlib.ExitStack() as stack:
            for name, retriever in retrievers(num_items):
                place = folder / str(len(runs))
                shop = stack.enter_context(opened(place, folder / "model.safetensors", num_items, retriever))
                runs[f"recommend, {name}"] = shop.recommend
            for number in range(WARM_UP + num_requests):
                for what, run in runs.items():
                    asked, begun, cpu = request(), time.perf_counter(), time.thread_time()
                    run(asked)
                    spent = time.perf_counter() - begun, time.thread_time() - cpu
                    taken.setdefault(what, []).extend([spent] * (number >= WARM_UP))
    return [{"work": what, **_percentiles(spent)} for what, spent in taken.items()]


def _by_all_places(encoder: SASRec, state: Any, history: list[str]) -> Any:
    rows = numbers_of(state.vocabulary, history, missing=0)
    tokens = np.append(np.zeros(1, np.int32), rows[1 - encoder.max_length :].astype(np.int32))
    return encoder.shape.forward(state.params, tokens[None])[:, -1]


def _percentiles(spent: Sequence[tuple[float, float]]) -> dict[str, float]:
    wall, cpu = (1e3 * np.array(seconds) for seconds in zip(*spent, strict=True))
    asked = (("p50", wall, 50), ("p99", wall, 99), ("cpu_p10", cpu, 10), ("cpu_p50", cpu, 50))
    return {name: float(np.percentile(times, rank)) for name, times, rank in asked}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="rough")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    parser.add_argument("--items", type=int, default=100_000, help="in the catalogue; %(default)s")
    chosen = parser.parse_args(arguments)
    machine = report.machine(("recsdk", "numpy", "numba"))
    rows = measure(chosen.items, 20 if chosen.quick else 500)
    told = " ".join(["python benchmarks/latency.py", *[f"--items {chosen.items}"] * (chosen.items != 100_000), *["--quick"] * chosen.quick])
    lines = report.header(["ms", "p50", "p99", "of the processor, p10", "p50"])
    lines += [report.line([row["work"], *(report.rounded(row[name]) for name in ("p50", "p99", "cpu_p10", "cpu_p50"))]) for row in rows]
    text = "\n".join([f"`{told}` on {report.described(machine)}.", "", *lines])
    print(json.dumps({"machine": machine, "rows": rows}, indent=1) if chosen.json else text)
    if chosen.write:
        report.write(command.DOCS, "latency", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
