"""Finds items that no fit has seen, by what they say of themselves: recall at 50 beside random, popularity and similarity of content.

python benchmarks/cold.py --data FOLDER [--sets ml-1m goodbooks] [--models sasrec ...] [--users 1000] [--quick] [--out FILE]

One item in ten is held out: all its events are removed before the fit, and the catalogue of the fit lacks it. A user is tested on the last
event in which a held-out item was taken, with the items before it that were not held out as history, and learned from before that. The
whole catalogue is ranked without the history: once for the held-out item, once among held-out items alone, and once for the last item
before, which the fit knows.

* `ml-1m`: ratings in their order; genres, director, actors, year, and the words of title and plot.
* `goodbooks`: no interactions, so those of an expert's making: an author is a user who takes their own books in the order of publication.
  Who wrote a book is withheld; its title, with the series in it if there is one, its language and year must tell.

FOLDER holds `ml-1m/` and `goodbooks-10k-catalogue/`; by default it is the folder `data` in $RECSDK_SHARED. `--from FILE` prints the table
of an earlier run that was put `--out`; with `--write` into docs/ranking-quality.md.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import numpy as np
import report

from recsdk.base import Events, Items
from recsdk.columns import objects
from recsdk.data import events_from_rows, items_from_rows, take
from recsdk.encoders.mf import MF
from recsdk.encoders.sasrec import SASRec
from recsdk.encoders.two_tower import TwoTower
from recsdk.ranking import by_encoder, by_scorer, rank_evaluate
from recsdk.ranking.cases import Cases, Ragged
from recsdk.scorers.content import Content
from recsdk.scorers.popularity import Popularity

PAGE = Path(__file__).parents[1] / "docs/ranking-quality.md"
COLD, AT = 0.1, 50


class Data(NamedTuple):
    """What users took, oldest first, and what items say of themselves.

    Attributes:
        items: rows of the catalogue.
        taken: ids by user.
        features: names of the items' features.
        text: those that are split into words.
        latest: items of a user's that count.
    """

    items: list[dict[str, Any]]
    taken: dict[str, list[str]]
    features: tuple[str, ...]
    text: tuple[str, ...]
    latest: int


def ml_1m(folder: Path, most_users: int) -> Data:
    """Reads the first users; of the films those that anybody of all users rated."""
    folder = folder / "ml-1m"
    with gzip.open(folder / "ratings.csv.gz", "rt") as lines:
        rows = [(user, item, int(order)) for user, item, _, order in csv.reader(lines) if user != "user"]
    told: dict[str, dict[str, Any]] = {}
    for line in (folder / "movies.dat").read_text("latin-1").splitlines():
        item, title, genres = line.split("::")
        told[item] = {"id": item, "title": title[:-7], "genres": genres.split("|"), "year": float(title[-5:-1])}
    for line in (folder / "movies_extrainfos.dat").read_text(errors="replace").splitlines():
        item, *cells = line.split("::")
        if item in told and len(cells) >= 9:
            told[item] |= {"director": cells[5].split(", "), "actors": cells[7].split(", "), "plot": cells[8]}
    rated = {item for _, item, _ in rows}
    taken: dict[str, list[str]] = {}
    for user, item, _ in sorted(rows, key=lambda row: (int(row[0]), row[2])):
        if user in taken or len(taken) < most_users:
            taken.setdefault(user, []).append(item)
    features = ("title", "genres", "year", "director", "actors", "plot")
    return Data([told[item] for item in told if item in rated], taken, features, ("title", "plot"), latest=50)


def goodbooks(folder: Path, most_users: int) -> Data:
    """Reads the books; of the authors the first ones with two books or more."""
    items, taken = [], {}
    with gzip.open(folder / "goodbooks-10k-catalogue/books.csv.gz", "rt") as lines:
        rows = sorted(csv.DictReader(lines), key=lambda row: float(row["original_publication_year"] or 0))
    for row in rows:
        year = float(row["original_publication_year"]) if row["original_publication_year"] else None
        items.append({"id": row["book_id"], "title": row["title"], "language": row["language_code"] or None, "year": year})
        taken.setdefault(row["authors"].split(", ")[0], []).append(row["book_id"])
    several = [(author, books) for author, books in taken.items() if len(books) > 1]
    return Data(items, dict(several[:most_users]), ("title", "language", "year"), ("title",), latest=10)


SETS: dict[str, Callable[[Path, int], Data]] = {"ml-1m": ml_1m, "goodbooks": goodbooks}


class Split(NamedTuple):
    """What is fitted to, and the three tests.

    Attributes:
        log: of items that are not held out.
        whole: the same events with the whole catalogue, for what learns from no events.
        cold: the held-out item among all.
        alone: the held-out item among held-out items.
        warm: the last item before, among all.
    """

    log: Events
    whole: Events
    cold: Cases
    alone: Cases
    warm: Cases


def split(data: Data, seed: int) -> Split:
    """Holds items out, and takes each user's cases."""
    everything = items_from_rows(data.items)
    is_cold = np.zeros(len(data.items), bool)
    is_cold[np.random.default_rng(seed).permutation(len(data.items))[: round(COLD * len(data.items))]] = True
    place = {name: number for number, name in enumerate(everything.ids.tolist())}
    rows, cold, warm = [], [], []
    for user, names in data.taken.items():
        found = [number for number, name in enumerate(names) if is_cold[place[name]]]
        before = [name for name in names[: found[-1]] if not is_cold[place[name]]] if found else []
        if len(before) > 1:
            cold.append((user, before, names[found[-1]]))
            warm.append((user, before[:-1], before[-1]))
            learned = before[:-1]
        else:
            learned = [name for name in names if not is_cold[place[name]]]
        learned = learned[-data.latest :]
        rows += [
            {"user_id": user, "item": name, "time": float(number), "history": learned[max(number - 20, 0) : number]}
            for number, name in enumerate(learned)
        ]
    fitted, held = take(everything, ~is_cold), take(everything, is_cold)
    rows.sort(key=lambda row: row["time"])
    log = events_from_rows(fitted, rows)
    whole = log._replace(items=everything, item=np.flatnonzero(~is_cold)[log.item])
    return Split(log, whole, *(_cases(*part, data.latest) for part in ((everything, cold), (held, cold), (everything, warm))))


def _cases(items: Items, rows: Sequence[tuple[str, list[str], str]], latest: int) -> Cases:
    place = {name: number for number, name in enumerate(items.ids.tolist())}
    histories = [[place[name] for name in before if name in place] for _, before, _ in rows]
    requests = {"user_id": objects([user for user, _, _ in rows]), "history": objects([before[-latest:] for _, before, _ in rows])}
    targets = Ragged.of([[place[target]] for _, _, target in rows])
    return Cases(requests, np.full(len(rows), 1e6), np.arange(len(rows)), items, Ragged.of(histories), targets)


def models(data: Data, quick: bool) -> dict[str, Any]:
    """Returns what is compared, from cheap to dear."""
    shared: dict[str, Any] = {"dim": 8 if quick else 32, "epochs": 1 if quick else 12, "progress": False}
    told: dict[str, Any] = {"item_features": data.features, "text_features": data.text}
    steps: dict[str, Any] = {"max_length": data.latest, "batch_size": 64, "learning_rate": 3e-3, "patience": 3}
    sasrec = SASRec(num_layers=1, num_heads=1, warmup_steps=20, **steps, **shared)
    buckets, epochs = (2**10, 1) if quick else (2**15, 3)
    return {
        "random": None,
        "popularity": Popularity(half_life=1e12),
        "content": Content(text_features=data.text, history_length=data.latest, recency_decay=0.95),
        "two-tower": TwoTower(user_features=("history",), num_buckets=buckets, **told, **(shared | {"epochs": epochs})),
        "sasrec": sasrec,
        **{f"sasrec, item_features, id_dropout={share:g}": attrs.evolve(sasrec, id_dropout=share, **told) for share in (0.5, 0.2, 0.0)},
        "mf, item_features, id_dropout=0.5": MF(output="tied", warmup_steps=20, **told, **steps, **shared),
    }


def run(part: Any, tests: Split) -> dict[str, Any]:
    """Fits one model; returns its row."""
    begun = time.process_time()
    row: dict[str, Any] = {}
    if part is None:

        def scores(cases: Cases, rows: np.ndarray) -> np.ndarray:
            return np.zeros((len(rows), len(cases.items.ids)), np.float32)

        kinds = [scores] * 3
    elif hasattr(part, "columns"):
        state = part.fit(tests.whole if isinstance(part, Content) else tests.log)
        kinds = [by_scorer(part, state)] * 3
    else:
        state = part.fit(tests.log)
        kinds = [by_encoder(part, state) for _ in range(3)]  # each keeps the vectors of its catalogue
        if not isinstance(part, TwoTower):
            row |= {"epochs": len(state.history), "epoch_s": float(np.median(state.history[1:, 2])) if len(state.history) > 1 else 0.0}
    row["cpu_s"] = time.process_time() - begun
    for name, scored in zip(("cold", "alone", "warm"), kinds, strict=True):
        row[name] = list(rank_evaluate(scored, getattr(tests, name), at=AT).recall)
    return row


def table(results: dict[str, Any]) -> str:
    """Returns the rows as Markdown, a table for each data set."""
    text = f"`{results['command']}` on {report.described(results['machine'])}."
    for name in dict.fromkeys(row["set"] for row in results["rows"]):
        rows = [row for row in results["rows"] if row["set"] == name]
        told = f"{name}: {rows[0]['cases']:,} cases, {rows[0]['num_items']:,} items, {rows[0]['num_cold']:,} held out"
        lines = [
            "",
            "",
            *report.header([told, "held-out, among all", "times random", "among held-out ones", "known, among all", "CPU of the fit"]),
        ]
        random = next(row["cold"][0] for row in rows if row["model"] == "random")
        for row in rows:
            cells = ["{:.3f} [{:.3f}, {:.3f}]".format(*row[test]) for test in ("cold", "alone", "warm")]
            cells.insert(1, f"{row['cold'][0] / random:.1f}")
            lines.append(report.line([row["model"], *cells, f"{row['cpu_s']:.0f} s"]))
        text += "\n".join(lines)
    return text


def play(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yields the rows."""
    for name in arguments.sets:
        data = SETS[name](arguments.data, arguments.users)
        tests = split(data, arguments.seed)
        size = {"cases": len(tests.cold.time), "num_items": len(data.items), "num_cold": len(tests.alone.items.ids)}
        print(f"# {name}: {len(tests.log.item):,} events, {size}", flush=True)
        for model, part in models(data, arguments.quick).items():
            if not arguments.models or model in arguments.models or model == "random":
                row = {"set": name, "model": model, **size, **run(part, tests)}
                cells = {test: "{:.3f} [{:.3f}, {:.3f}]".format(*row[test]) for test in ("cold", "alone", "warm")}
                print(f"{model:40} {cells}, {row['cpu_s']:.0f} s of CPU, {row.get('epochs')} epochs of {row.get('epoch_s')} s", flush=True)
                yield row


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ["RECSDK_SHARED"]) / "data" if "RECSDK_SHARED" in os.environ else None
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--models", nargs="+", help="only these, beside random; by default all")
    parser.add_argument("--users", type=int, default=1000, help="only the first so many")
    parser.add_argument("--seed", type=int, default=0, help="of which items are held out")
    parser.add_argument("--quick", action="store_true", help="tiny models, for a try")
    parser.add_argument("--out", type=Path, help="a JSON file of the results")
    parser.add_argument("--from", type=Path, dest="kept", help="JSON file of an earlier run, of which to print the table")
    parser.add_argument("--write", action="store_true", help="the table into docs/ranking-quality.md")
    arguments = parser.parse_args()
    if arguments.kept:
        results = json.loads(arguments.kept.read_text())
    elif arguments.data is None:
        parser.error("--data must name the folder of the data sets, or RECSDK_SHARED the folder around it")
    else:
        machine = report.machine(("recsdk", "numpy", "jax", "optax"))
        command = f"python benchmarks/cold.py --users {arguments.users}" + " --quick" * arguments.quick
        results = {"command": command, "machine": machine, "rows": list(play(arguments))}
        if arguments.out is not None:
            arguments.out.write_text(json.dumps(results, indent=1) + "\n")
    text = table(results)
    print(text)
    if arguments.write:
        report.write(PAGE, "cold", text)


if __name__ == "__main__":
    main()
