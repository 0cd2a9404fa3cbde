"""Ranks the whole catalogue by counting scorers and by deep encoders: leave-one-out, history masked, NDCG@10 and HR@10.

`ml-100k-time` tests at one moment for all, which no model sees beyond: the last tenth of the log, of users who were there before.
Sessions of diginetica are those of others' tables: every next click of the last week, among all items, seen or not, HR@20 and MRR@20.

python benchmarks/encoders.py --data FOLDER [--sets ml-1m beauty ml-100k] [--models ease sasrec ...] [--seconds 500] [--out FILE]

FOLDER holds `ml-100k/ml-100k.inter`, `ml-1m/ratings.csv.gz`, `amazon-beauty/Beauty.txt.gz`, `lastfm-s3rec/LastFM.txt.gz`,
`amazon-beauty-bert4rec/beauty.txt.gz` and `diginetica/{train_sessions,test_prefixes}.txt.gz`; by default it is the folder `data` in
$RECSDK_SHARED. Everything but a user's last item is fitted on; a deep encoder holds the last of that back for some users, to stop early.
Runs go from cheap to dear until `--seconds` are over; each prints its row at once.

`--from FILE ...` measures nothing: it prints the table of rows that earlier runs put `--out`; with `--write` into docs/ranking-quality.md.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import numpy as np
import report

from recsdk.base import Array, Events, Items, Request
from recsdk.data import events_from_rows, items_from_rows, take_events
from recsdk.encoders.bert4rec import BERT4Rec
from recsdk.encoders.cnn import CNN
from recsdk.encoders.gru import GRU
from recsdk.encoders.lstm import LSTM
from recsdk.encoders.mf import MF
from recsdk.encoders.on_device import OnDevice
from recsdk.encoders.sasrec import SASRec
from recsdk.encoders.seq2seq import Seq2Seq
from recsdk.encoders.settings import SequenceSettings
from recsdk.ranking import (
    Cases,
    Ragged,
    RankEvaluation,
    by_encoder,
    by_scorer,
    compare_rankings,
    leave_one_out,
    rank_evaluate,
    split_at_time,
)
from recsdk.scorers.als import ALS
from recsdk.scorers.dot import Dot
from recsdk.scorers.ease import EASE
from recsdk.scorers.ensemble import Ensemble
from recsdk.scorers.item_knn import ItemKNN
from recsdk.scorers.popularity import Popularity
from recsdk.scorers.seq_item_knn import SeqItemKNN

PAGE = Path(__file__).parents[1] / "docs/ranking-quality.md"
PICTURE = PAGE.with_suffix(".svg")
KINDS = {"counts or factorises": "#888888", "deep": "#3f51b5", "another library": "#e65100"}

Row = tuple[str, str, float]  # user, item, time


def ml_100k(folder: Path) -> Iterator[Row]:
    """Yields the ratings; those of one second in the order of the file."""
    for line in (folder / "ml-100k/ml-100k.inter").read_text().splitlines()[1:]:
        user, item, _, seconds = line.split("\t")
        yield user, item, float(seconds)


def ml_1m(folder: Path) -> Iterator[Row]:
    """Yields the ratings with each one's place in its user's order as the time."""
    with gzip.open(folder / "ml-1m/ratings.csv.gz", "rt") as lines:
        next(lines)
        for line in lines:
            user, item, _, order = line.split(",")
            yield user, item, float(order)


def sequences(file: str) -> Callable[[Path], Iterator[Row]]:
    """Reads lines of a user and all items, with each one's place as the time."""

    def read_lines(folder: Path) -> Iterator[Row]:
        with gzip.open(folder / file, "rt") as lines:
            for line in lines:
                user, *items = line.split()
                yield from ((user, item, float(place)) for place, item in enumerate(items))

    return read_lines


def beauty_long_tail(folder: Path) -> Iterator[Row]:
    """Yields the purchases of the set of BERT4Rec with each one's place in the file as the time."""
    with gzip.open(folder / "amazon-beauty-bert4rec/beauty.txt.gz", "rt") as lines:
        for place, line in enumerate(lines):
            user, item = line.split()
            yield user, item, float(place)


def diginetica(folder: Path) -> Iterator[Row]:
    """Yields the clicks of the training's sessions, with each one's place as the time."""
    with gzip.open(folder / "diginetica/train_sessions.txt.gz", "rt") as lines:
        for session, line in enumerate(lines):
            yield from ((f"s{session}", item, float(place)) for place, item in enumerate(line.split()))


SETS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "ml-1m": ml_1m,
    "beauty": sequences("amazon-beauty/Beauty.txt.gz"),
    "beauty-long-tail": beauty_long_tail,
    "lastfm": sequences("lastfm-s3rec/LastFM.txt.gz"),
    "ml-100k": ml_100k,
    "ml-100k-time": ml_100k,
    "diginetica": diginetica,
}
FEW_ITEMS = ("ml-1m", "lastfm", "ml-100k", "ml-100k-time")
"""Sets whose items are few enough for a matrix of all pairs."""


@attrs.frozen
class LastDays:
    """Popularity in the last days before the test."""

    days: float = 7
    popularity: Any = attrs.field(factory=lambda: Popularity(half_life=1e12))
    columns = Popularity.columns

    def fit(self, log: Events) -> Any:
        """Counts the last days alone."""
        return self.popularity.fit(take_events(log, log.time >= log.time[-1] - self.days * 86_400))

    def score(self, state: Any, request: Request, candidates: Items) -> Array:
        """Returns f32[K, 1]."""
        return self.popularity.score(state, request, candidates)


def counting(name: str) -> dict[str, Any]:
    """Returns the scorers of a data set that count, or factorise."""
    ease = {"ease": EASE()} if name in FEW_ITEMS else {}
    scorers = {"popularity": Popularity(half_life=1e12), "item-knn": ItemKNN(), **ease, "als": ALS(), "seq-item-knn": SeqItemKNN()}
    return scorers | ({"ensemble": Ensemble()} if ease else {}) | ({"popularity-7-days": LastDays()} if name == "ml-100k-time" else {})


def deep(name: str) -> dict[str, Any]:
    """Returns the encoders of a data set, the most promising first."""
    if name == "ml-1m":
        wide = SASRec(dim=256, num_heads=4, max_length=200, dropout=0.3, epochs=60, patience=8, progress=False)
        return {
            "sasrec": wide,
            "sasrec-windows": _with(wide, max_windows=4, epochs=40),
            "sasrec-windows-cosine": _with(wide, max_windows=4, epochs=40, similarity="cosine", temperature=0.06),
            "sasrec-dropout": _with(wide, dropout=0.5, patience=12, epochs=100),
            "sasrec-sampled": _with(wide, loss="sampled", num_negatives=2048),
            "sasrec-cosine": _with(wide, similarity="cosine", temperature=0.06),
            "sasrec-relu": _with(wide, activation="relu"),
            "sasrec-untied": _with(wide, output="untied"),
            "sasrec-128": _with(wide, dim=128, num_heads=2),
            "sasrec-64": _with(wide, dim=64, num_heads=2, dropout=0.2),
            "sasrec-gbce": _with(wide, loss="gbce", num_negatives=1024),
            **_others(wide, "bert4rec", "gru", "lstm", "cnn", "seq2seq", "mf"),
        }
    if name.startswith("beauty"):
        wide = SASRec(dim=128, num_heads=2, max_length=50, dropout=0.5, epochs=60, patience=8, batch_size=256, progress=False)
        return {
            "sasrec": wide,
            "sasrec-cosine": _with(wide, similarity="cosine", temperature=0.06),
            "sasrec-cosine-cool": _with(wide, similarity="cosine", temperature=0.05),
            "sasrec-256": _with(wide, dim=256, num_heads=4),
            "sasrec-64": _with(wide, dim=64),
            "sasrec-sampled": _with(wide, loss="sampled", num_negatives=2048),
            "sasrec-one-layer": _with(wide, num_layers=1),
            "sasrec-short": _with(wide, dim=64, max_length=20, similarity="cosine", temperature=0.06, loss="sampled", num_negatives=2048),
            **_others(wide, "bert4rec", "gru", "lstm", "cnn", "seq2seq", "mf"),
        }
    if name == "diginetica":
        gru = GRU(
            dim=64,
            max_length=12,
            dropout=0.3,
            epochs=12,
            patience=2,
            batch_size=512,
            max_windows=2,
            loss="sampled",
            num_negatives=2048,
            similarity="cosine",
            temperature=0.0625,
            progress=False,
        )
        shared = {field.name: getattr(gru, field.name) for field in attrs.fields(SequenceSettings)}
        return {"gru-cosine": gru, "sasrec-cosine": SASRec(num_heads=2, **shared)}
    narrow = SASRec(dim=64, num_heads=2, max_length=100, dropout=0.4, epochs=150, patience=15, max_windows=4, progress=False)
    return {
        "sasrec": narrow,
        "sasrec-last": _with(narrow, max_windows=1),
        "sasrec-128": _with(narrow, dim=128),
        "sasrec-cosine": _with(narrow, similarity="cosine", temperature=0.06),
        "sasrec-128-cosine": _with(narrow, dim=128, dropout=0.5, similarity="cosine", temperature=0.06),
        "sasrec-slow": _with(narrow, learning_rate=3e-4, epochs=300),
        **_others(narrow, "bert4rec", "gru", "lstm", "cnn", "seq2seq", "mf"),
        "ensemble-sasrec": Ensemble(scorers=("seq-item-knn", "ease", Dot(encoder=narrow))),
    }


def _others(like: SASRec, *names: str) -> dict[str, Any]:
    """Returns encoders of other kinds, with the settings that all share."""
    kinds = {"bert4rec": BERT4Rec, "gru": GRU, "lstm": LSTM, "cnn": CNN, "seq2seq": Seq2Seq, "mf": MF}
    shared = {field.name: getattr(like, field.name) for field in attrs.fields(SequenceSettings)}
    made = {name: kinds[name](**shared) for name in names}
    return made | ({"mf": _with(made["mf"], output="untied")} if "mf" in made else {})


def _with(encoder: Any, **changes: Any) -> Any:
    return attrs.evolve(encoder, **changes)


class Trial(NamedTuple):
    """What is fitted on, what is tested, and how."""

    log: Events
    cases: Cases
    at: int = 10
    mask_history: bool = True


def trial(name: str, folder: Path, most_users: int | None) -> Trial:
    """Returns the last item of each user as a test; of diginetica the clicks of the last week, the first so many."""
    log = read(name, folder, most_users)
    if name == "diginetica":
        return Trial(log, next_clicks(log.items, folder, most_users), at=20, mask_history=False)
    if name == "ml-100k-time":
        moments = np.quantile(log.time, [0.8, 0.9])
        split = split_at_time(log, *moments)
    else:
        split = leave_one_out(log)
    return Trial(split.refit, split.test)


def next_clicks(items: Items, folder: Path, most: int | None) -> Cases:
    """Returns the test's prefixes as cases; the prefixes of a session stand one after another, and have one user."""
    with gzip.open(folder / "diginetica/test_prefixes.txt.gz", "rt") as lines:
        prefixes = [line.split() for line in itertools.islice(lines, most)]
    place = {item: number for number, item in enumerate(items.ids.tolist())}
    known = [(*prefix,) for prefix in prefixes if prefix[-1] in place]
    if len(known) < len(prefixes):
        print(f"# {len(prefixes) - len(known)} cases are left out: their target is not in the log", flush=True)
    begins = [not number or known[number - 1][: len(prefix)] != prefix for number, prefix in enumerate(known)]
    past = [[item for item in prefix[:-1] if item in place] for prefix in known]
    history = Ragged.of([[place[item] for item in one] for one in past])
    target = Ragged.of([[place[prefix[-1]]] for prefix in known])
    requests = {"history": np.fromiter(past, object, len(past))}
    return Cases(requests, np.zeros(len(known)), np.cumsum(begins) - 1, items, history, target)


def export(tried: Trial, folder: Path) -> None:
    """Writes the split as CSV, for models that run elsewhere: what is fitted on in the order of time, and each case's target."""
    folder.mkdir(parents=True, exist_ok=True)
    log, cases = tried.log, tried.cases
    rows = np.lexsort((log.time, log.requests["user_id"]))
    with (folder / "train.csv").open("w") as file:
        file.write("user,item,time\n")
        ids = log.items.ids[log.item]
        file.writelines(f"{log.requests['user_id'][row]},{ids[row]},{number}\n" for number, row in enumerate(rows))
    with (folder / "test.csv").open("w") as file:
        file.write("user,item\n")
        pairs = zip(cases.requests["user_id"], cases.items.ids[cases.target.values], strict=True)
        file.writelines(f"{user},{item}\n" for user, item in pairs)


def elsewhere(row: dict[str, Any], tried: Trial) -> tuple[RankEvaluation, dict[str, Any]]:
    """Returns what was found of a model that ranked elsewhere, by how many items it put above each target."""
    cases, above = tried.cases, np.array(row.pop("above"))

    def scores(cases: Cases, rows: np.ndarray) -> np.ndarray:
        """Gives 1 to as many items that may be ranked as stood above the target, and to the target a half."""
        table = np.ones((len(rows), len(cases.items.ids)), np.float32)
        for line, case in zip(table, rows, strict=True):
            line[cases.history.values[cases.history.start[case] : cases.history.start[case + 1]]] = 0
            line[cases.target.values[case]] = 0
            line *= line.cumsum() <= above[case]
            line[cases.target.values[case]] = 0.5
        return table

    found = rank_evaluate(scores, cases, at=tried.at, mask_history=tried.mask_history)
    return found, row | {
        "seed": 0,
        "at": tried.at,
        "machine": machine(),
        "ndcg": found.ndcg,
        "hr": found.hit_rate.value,
        "mrr": found.mrr.value,
    }


def read(name: str, folder: Path, most_users: int | None) -> Events:
    """Returns a data set as events; of the users only the first so many."""
    rows = list(SETS[name](folder))
    if most_users is not None:
        users = dict.fromkeys(user for user, _, _ in rows)
        kept = set(list(users)[:most_users])
        rows = [row for row in rows if row[0] in kept]
    items = items_from_rows([{"id": item} for item in dict.fromkeys(item for _, item, _ in rows)])
    return events_from_rows(items, ({"user_id": user, "item": item, "time": seconds} for user, item, seconds in rows))


def run(name: str, model: str, part: Any, tried: Trial, seed: int) -> tuple[RankEvaluation, dict[str, Any]]:
    """Fits and ranks one model; returns what was found, and its row."""
    begun = time.perf_counter()
    row: dict[str, Any] = {"set": name, "model": model, "seed": seed, "config": repr(part), "machine": machine()}
    if isinstance(part, SequenceSettings):
        state = part.fit(tried.log, seed=seed)
        seconds = state.history[:, 2]
        row |= {"epochs": len(seconds), "best_epoch": int(state.best_epoch), "first_epoch_s": seconds[0], "epoch_s": np.median(seconds[1:])}
        row |= {"validation": state.history[:, 1].max(), "train_s": seconds.sum(), "to_best_s": seconds[: int(state.best_epoch)].sum()}
        scores = by_encoder(OnDevice(encoder=part), state)
    else:
        scores = by_scorer(part, part.fit(tried.log))
    row["fit_s"] = time.perf_counter() - begun
    begun = time.perf_counter()
    found = rank_evaluate(scores, tried.cases, at=tried.at, mask_history=tried.mask_history)
    row |= {"at": tried.at, "rank_s": time.perf_counter() - begun, "ndcg": found.ndcg, "hr": found.hit_rate.value, "mrr": found.mrr.value}
    return found, row


@functools.cache
def machine() -> str:
    """Says on what it is measured; of the load, as it is at first."""
    import jax

    versions = ", ".join(f"{name} {report.version(name)}" for name in ("recsdk", "jax", "optax") if report.version(name))
    what = f"{jax.devices()[0].device_kind}, {os.cpu_count()} CPU cores"
    if jax.default_backend() == "cpu" and os.getloadavg()[0] > 1.5 * (os.cpu_count() or 1):
        what = f"{os.cpu_count()} CPU cores beside other work, so that times are too long"
    return f"{what}; {versions}; {time.strftime('%Y-%m-%d', time.gmtime())}"


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Returns the rows as Markdown, a table for each data set and machine; of several seeds the mean, and each seed's value."""
    text, said = "`python benchmarks/encoders.py`", ""
    for name, where in dict.fromkeys((row["set"], row["machine"]) for row in rows):
        own = [row for row in rows if (row["set"], row["machine"]) == (name, where)]
        text += f" on {where}." if not said else f"\n\nOn {where}." if where != said else ""
        said, at = where, own[0].get("at", 10)
        titles = [name, f"NDCG@{at}", f"HR@{at}", "validation", "against the best counting", "epoch", "training"]
        lines = ["", "", *report.header(titles)]
        for model in dict.fromkeys(row["model"] for row in own):
            runs = {row["seed"]: row for row in own if row["model"] == model}
            lines.append(report.line([model, *cells(list(runs.values()))]))
        text += "\n".join(lines)
        versions = {f"{library} {number}" for row in own for library, number in row.get("versions", {}).items()}
        text += f"\n\nOthers: {', '.join(sorted(versions))}." if versions else ""
    return text


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Writes a picture of NDCG with its intervals, a panel for each data set; of several seeds the first."""
    import altair as alt

    first = [row for row in rows if row["seed"] == 0]
    panels = []
    for name in dict.fromkeys(row["set"] for row in first):
        values = list({row["model"]: told_of(row) for row in first if row["set"] == name}.values())
        at = next(row.get("at", 10) for row in first if row["set"] == name)
        places = alt.Y("model:N", title=None, sort=alt.EncodingSortField("ndcg", order="descending"), axis=alt.Axis(labelLimit=300))
        colours = alt.Color(
            "kind:N", title=None, legend=alt.Legend(orient="top"), scale=alt.Scale(domain=list(KINDS), range=list(KINDS.values()))
        )
        base = alt.Chart(alt.Data(values=values), title=name, width=230, height=alt.Step(14)).encode(y=places, color=colours)
        spans = base.mark_rule().encode(x=alt.X("low:Q", title=f"NDCG@{at}"), x2="high:Q")
        panels.append(spans + base.mark_circle(size=50, opacity=1).encode(x="ndcg:Q"))
    alt.concat(*panels, columns=2).configure(background="white").save(path)


def told_of(row: dict[str, Any]) -> dict[str, Any]:
    """Returns what the picture shows of a row."""
    ndcg, low, high = row["ndcg"]
    kind = "another library" if "versions" in row else "deep" if "epochs" in row or "SASRec(" in row["config"] else "counts or factorises"
    return {"model": row["model"], "ndcg": ndcg, "low": low, "high": high, "kind": kind}


def cells(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Returns one model's cells."""
    first, ndcg = runs[0], [row["ndcg"][0] for row in runs]
    if len(runs) > 1:
        quality = f"{np.mean(ndcg):.4f} (seeds: {', '.join(f'{value:.4f}' for value in ndcg)})"
    else:
        quality = "{:.4f} [{:.4f}, {:.4f}]".format(*first["ndcg"])
    hits = f"{np.mean([row['hr'] for row in runs]):.4f}"
    difference = ", ".join("{:+.4f} [{:+.4f}, {:+.4f}]".format(*row["difference"]) for row in runs if "difference" in row)
    if "epochs" not in first:
        return [quality, hits, "", difference, "", f"{first['fit_s']:.1f} s"]
    epoch, training = (np.median([row[key] for row in runs]) for key in ("epoch_s", "fit_s"))
    return [quality, hits, f"{np.mean([row['validation'] for row in runs]):.4f}", difference, f"{epoch:.3f} s", f"{training:.1f} s"]


def told(row: dict[str, Any]) -> str:
    """Returns a row of the table."""
    ndcg, low, high = row["ndcg"]
    text = f"{row['set']:8} {row['model']:16} seed {row['seed']}  NDCG@{row['at']} {ndcg:.4f} [{low:.4f}, {high:.4f}]"
    text += f"  HR@{row['at']} {row['hr']:.4f}  MRR@{row['at']} {row['mrr']:.4f}  fit {row['fit_s']:6.1f} s"
    if "epochs" in row:
        text += f"  best of {row['epochs']} epochs: {row['best_epoch']}, validation {row['validation']:.4f}"
        text += f", first {row['first_epoch_s']:.1f} s, others {row['epoch_s']:.3f} s, to the best {row['to_best_s']:.1f} s"
    if "against" in row:
        text += f"  against {row['against']}: {row['difference'][0]:+.4f} [{row['difference'][1]:+.4f}, {row['difference'][2]:+.4f}]"
    return text


def play(arguments: argparse.Namespace) -> Iterable[dict[str, Any]]:
    """Yields the rows."""
    end = time.perf_counter() + arguments.seconds
    for name in arguments.sets:
        begun = time.perf_counter()
        tried = trial(name, arguments.data, arguments.users)
        print(
            f"# {name}: {len(tried.cases.time):,} cases, {len(tried.cases.items.ids):,} items, {len(tried.log.item):,} events to fit on,"
            f" read in {time.perf_counter() - begun:.1f} s; history {'' if tried.mask_history else 'not '}masked; full ranking",
            flush=True,
        )
        if arguments.export:
            export(tried, arguments.export / name)
            continue
        counted: dict[str, RankEvaluation] = {}
        runs = [(model, part, 0) for model, part in counting(name).items()]
        runs += [
            (model, part, seed)
            for seed in range(arguments.seeds)
            for model, part in deep(name).items()
            if seed == 0 or isinstance(part, SequenceSettings)  # a scorer has a seed of its own
        ]
        for model, part, seed in runs:
            if (arguments.models and model not in arguments.models) or time.perf_counter() > end:
                continue
            if isinstance(part, SequenceSettings) and arguments.epochs:
                part = _with(part, epochs=arguments.epochs)
            found, row = run(name, model, part, tried, seed)
            if model in counting(name):
                counted[model] = found
            elif counted:
                row |= against(found, counted)
            print(told(row), flush=True)
            yield row
        others = [row for path in arguments.peers for row in json.loads(path.read_text()) if row["set"] == name]
        for other in others:
            found, row = elsewhere(other, tried)
            if counted:
                row |= against(found, counted)
            print(told(row), flush=True)
            yield row


def against(found: RankEvaluation, counted: dict[str, RankEvaluation]) -> dict[str, Any]:
    """Returns the difference from the best of those that count."""
    best = max(counted, key=lambda other: counted[other].ndcg.value)
    return {"against": best, "difference": compare_rankings(found, counted[best]).ndcg}


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ["RECSDK_SHARED"]) / "data" if "RECSDK_SHARED" in os.environ else None
    parser.add_argument(
        "--data",
        type=Path,
        default=default,
    )
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--models", nargs="+", help="only these; by default all")
    parser.add_argument("--seeds", type=int, default=1, help="of the deep models")
    parser.add_argument("--seconds", type=float, default=1e9, help="no run is begun after so many")
    parser.add_argument("--users", type=int, help="only the first so many, for a try")
    parser.add_argument("--epochs", type=int, help="at most, instead of each model's own, for a try")
    parser.add_argument("--out", type=Path, help="a JSON file of all rows")
    parser.add_argument("--export", type=Path, help="a folder for the splits as CSV; nothing is measured")
    parser.add_argument("--peers", type=Path, nargs="+", default=[], help="what peers/ranking.py has written")
    parser.add_argument("--from", type=Path, nargs="+", dest="kept", help="JSON files of earlier runs, of which to print the table")
    parser.add_argument("--write", action="store_true", help="that table and its picture into docs/ranking-quality.md")
    arguments = parser.parse_args()
    if arguments.kept:
        rows = [row for path in arguments.kept for row in json.loads(path.read_text())]
        text = table(rows)
        print(text)
        if arguments.write:
            report.write(PAGE, "ranking", text)
            draw(rows, PICTURE)
        return
    if arguments.data is None:
        parser.error("--data must be a folder, or RECSDK_SHARED set")
    print(f"# {machine()}", flush=True)
    rows = []
    for row in play(arguments):
        rows.append(row)
        if arguments.out:
            arguments.out.write_text(json.dumps(rows, indent=1, default=float) + "\n")


if __name__ == "__main__":
    main()
