"""What a bandit on a deep encoder earns, beside each of the two alone: `python benchmarks/online.py`, some ten minutes."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# NumPy reads this when it is imported; on matrices this small a second thread makes every contestant slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import attrs
import numpy as np
import report
from online_play import EVERYONE, SLOW, SUBJECTS, Sets
from online_worlds import WORLDS, World, encoded

from recsdk.encoders.two_tower import TwoTower

SHARED = Path(os.environ.get("RECSDK_SHARED", Path(__file__).resolve().parents[2] / "shared"))
PAGE = Path(__file__).resolve().parent.parent / "docs/online-quality.md"
CHECKPOINTS = (1_000, 2_000, 5_000, 10_000, 20_000)
NUM_RESAMPLES = 2_000
NUM_POINTS = 40
"""Of each curve in the picture."""

Values = dict[str, dict[int, np.ndarray]]
"""For each contestant and each order that it played, f64[T]: the expected reward of each decision."""


def play(world: World, encoder: TwoTower, seeds: Sequence[int], names: Sequence[str]) -> tuple[Values, dict[int, np.ndarray]]:
    """Lets everyone play; returns their values, and the order of the visits of each seed."""
    features, values = encoded(world, encoder), Values()
    orders = {seed: np.random.default_rng(seed).permutation(len(world.visits.user)) for seed in seeds}
    for seed, order in orders.items():
        sets = Sets(features(order), world.raw(order))
        for name in names:
            if seed == seeds[0] or SLOW not in name:
                begun = time.process_time()
                values.setdefault(name, {})[seed] = found = EVERYONE[name](world, order, sets, seed)
                taken = f"{found.mean():.4f}, {time.process_time() - begun:.0f} s"
                print(f"  {name}, order {seed}: {taken}", file=sys.stderr, flush=True)
    return values, orders


def compare(ours: dict[int, np.ndarray], theirs: dict[int, np.ndarray], users: Mapping[int, np.ndarray]) -> list[float]:
    """Returns the mean of ours less that of theirs, with a 95 % interval: of the users, resampled with all their visits.

    Args:
        ours: f64[T] of each order.
        theirs: likewise; orders that they did not play are left out.
        users: i64[T] of each order, whose visit it was.
    """
    gaps = np.concatenate([ours[seed] - theirs[seed] for seed in theirs])
    owner = np.concatenate([users[seed][: len(theirs[seed])] for seed in theirs])
    sums, counts = np.bincount(owner, gaps), np.bincount(owner)
    sums, counts = sums[counts > 0], counts[counts > 0]
    rng = np.random.default_rng(0)
    times = [np.bincount(rng.integers(len(sums), size=len(sums)), minlength=len(sums)) for _ in range(NUM_RESAMPLES)]
    low, high = np.quantile([drawn @ sums / (drawn @ counts) for drawn in times], [0.025, 0.975])
    return [float(gaps.mean()), float(low), float(high)]


def rows(name: str, values: Values, users: Mapping[int, np.ndarray]) -> list[dict[str, Any]]:
    """Returns a row for each contestant in a world."""
    length, found = len(next(iter(users.values()))), []
    for contestant, played in values.items():
        so_far = np.mean([np.cumsum(each) / np.arange(1, length + 1) for each in played.values()], axis=0)
        points = np.unique(np.geomspace(min(200, length), length, NUM_POINTS).astype(int))
        row = {"world": name, "contestant": contestant, "orders": len(played), "curve": [[int(at), float(so_far[at - 1])] for at in points]}
        row["checkpoints"] = {str(at): float(so_far[at - 1]) for at in CHECKPOINTS if at <= length}
        found.append(row | {"mean": float(so_far[-1]), "last": float(np.mean([each[length // 2 :].mean() for each in played.values()]))})
        others = [subject for subject in SUBJECTS if subject in values and subject != contestant]
        found[-1]["behind"] = {subject: compare(values[subject], played, users) for subject in others}
    return found


def table(results: Mapping[str, Any]) -> str:
    """Returns a table for each world, and on what it was measured."""
    lines = [f"`{results['command']}` on {report.described(results['machine'])}."]
    for world in dict.fromkeys(row["world"] for row in results["rows"]):
        mine = [row for row in results["rows"] if row["world"] == world]
        titles = [f"{at} decisions" for at in (f"{int(at):,}" for at in mine[0]["checkpoints"])]
        orders = f"{world}, {mine[0]['orders']} order{'s' * (mine[0]['orders'] > 1)}"
        lines += ["", *report.header([orders, *titles, "second half", *(f"{subject} less this" for subject in SUBJECTS)])]
        for row in mine:
            gaps = ["{:+.4f} [{:+.4f}, {:+.4f}]".format(*row["behind"][name]) if name in row["behind"] else "" for name in SUBJECTS]
            cells = [f"{value:.4f}" for value in (*row["checkpoints"].values(), row["last"])]
            title = row["contestant"] + (", one order" if row["orders"] < mine[0]["orders"] else "")
            lines.append(report.line([f"**{title}**" if row["contestant"] in SUBJECTS else title, *cells, *gaps]))
    return "\n".join(lines)


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Draws the mean reward so far, a panel for each world; of those who differ by the floor alone one, and nobody far below."""
    import altair as alt

    dots = [
        {"world": row["world"], "who": row["contestant"], "decisions": at, "reward": reward}
        for row in results["rows"]
        if row["contestant"] != "random" and "no floor" not in row["contestant"]
        for at, reward in row["curve"]
    ]
    names = list(dict.fromkeys(dot["who"] for dot in dots))
    lines = (
        alt.Chart(alt.Data(values=dots), width=330, height=300)
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("decisions:Q", scale=alt.Scale(type="log", nice=False), axis=alt.Axis(format="~s", values=[200, *CHECKPOINTS])),
            y=alt.Y("reward:Q", title="mean reward so far", scale=alt.Scale(zero=False)),
            color=alt.Color("who:N", title=None, sort=names, scale=alt.Scale(scheme="tableau10"), legend=alt.Legend(labelLimit=300)),
            facet=alt.Facet("world:N", title=None, columns=2, sort=list(dict.fromkeys(dot["world"] for dot in dots))),
        )
        .resolve_scale(y="independent")
        .configure(background="white")
    )
    lines.save(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    chosen = _parser().parse_args(arguments)
    if chosen.kept:
        runs = [json.loads(path.read_text()) for path in chosen.kept]
        command = "`, `".join(dict.fromkeys(run["command"] for run in runs))
        found = [row for run in runs for row in run["rows"] if row["contestant"] in EVERYONE]
        return _tell({"command": command, "machine": runs[0]["machine"], "rows": found}, chosen)
    if chosen.quick:
        chosen.seeds, chosen.decisions = 1, 1_000
    found, machine = [], report.machine(("recsdk", "numpy", "numba", "jax", "vowpalwabbit"))
    for name in chosen.worlds:
        print(name, file=sys.stderr, flush=True)
        world = WORLDS[name](SHARED / "data", chosen.decisions)
        encoder = attrs.evolve(TwoTower(progress=False), epochs=1) if chosen.quick else TwoTower(progress=False)
        values, orders = play(world, encoder, range(chosen.seeds), list(EVERYONE))
        found += rows(name, values, {seed: world.visits.user[order] for seed, order in orders.items()})
    return _tell({"command": _command(chosen), "machine": machine, "rows": found}, chosen)


def _tell(results: Mapping[str, Any], chosen: argparse.Namespace) -> int:
    print(json.dumps(results, indent=1) if chosen.json else table(results))
    if chosen.write:
        report.write(PAGE, "online", table(results))
        draw(results, PAGE.with_suffix(".svg"))
    return 0


def _command(chosen: argparse.Namespace) -> str:
    defaults = _parser()
    given = {name: getattr(chosen, name) for name in ("decisions", "seeds") if getattr(chosen, name) != defaults.get_default(name)}
    worlds = f" --worlds {' '.join(repr(name) for name in chosen.worlds)}" if chosen.worlds != list(WORLDS) else ""
    return " ".join(["python benchmarks/online.py", *(f"--{name} {value}" for name, value in given.items())]) + worlds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", nargs="+", default=list(WORLDS), choices=list(WORLDS), help="all by default")
    parser.add_argument("--decisions", default=20_000, type=int, help="in each world (%(default)s)")
    parser.add_argument("--seeds", default=3, type=int, help="orders of the visits (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="one order of 1,000 decisions, and an encoder of one epoch: rough")
    parser.add_argument("--from", dest="kept", nargs="+", type=Path, help="play nothing: show what earlier runs printed with --json")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--write", action="store_true", help="put the tables and the picture into docs/online-quality.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
