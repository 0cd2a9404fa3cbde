"""How much recsdk earns while it learns, beside other libraries: `python benchmarks/quality.py`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# NumPy reads this when it is imported; on matrices this small a second thread makes every contestant slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import peers
import quality_report
import quality_sets
import report
from quality_play import Key, Memory, Outcome, Own, play_own, play_peer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from scipy.stats import rankdata

import recsdk

OWN = {
    "DisjointLinUCB": Own("shared", lambda num: recsdk.DisjointLinUCB(num_items=num)),
    "DisjointLinTS": Own("shared", lambda num: recsdk.DisjointLinTS(num_items=num)),
    "HybridLinUCB": Own("shared", lambda num: recsdk.HybridLinUCB(num_items=num)),
    "SquareCB": Own("blocks", lambda num: recsdk.SquareCB()),
    "WideDeep": Own("shared", lambda num: recsdk.WideDeep(num_items=num)),
}
"""Our policies: each in the one configuration that it has for every set."""
DEFAULT = "WideDeep"
SETTLED = {
    "VW": "regcb, less mellow, quadratic",
    "MABWiser": "LinUCB, alpha 0.1",
    "contextualbandits": "LinUCB, alpha 0.1",
    "obp": "LinUCB, epsilon 0.1",
    "river": "LinUCBDisjoint, beta 100.0",
    "coba": "LinUCB, alpha 0.1",
}
"""The setting of each library with the best mean rank on the sets outside KEEL's, which are not played again where these are taken."""
SLOW_TUNING = 2_000
"""Events of a set on which the settings of slow libraries are compared; those of the others are compared on all."""
DOCS = Path(__file__).resolve().parent.parent / "docs"
MEMORY = Path(__file__).resolve().parent / ".cache/quality.jsonl"


class Bakeoff:
    """Who plays what, how often; each outcome is played once and remembered.

    Args:
        sets: names of the sets.
        num_seeds: how many orders of each.
        num_slow_seeds: how many of them the slow libraries play.
        cap: events of a set at most.
        memory: of outcomes.
        progress: shows what is being played.
        settled: whether libraries play their `SETTLED` settings.
    """

    def __init__(
        self, sets: Sequence[str], num_seeds: int, num_slow_seeds: int, cap: int, memory: Memory, progress: Progress, settled: bool = False
    ) -> None:
        self.sets, self.memory, self.progress, self.settled = sets, memory, progress, settled
        self.seeds, self.slow_seeds = range(num_seeds), range(min(num_seeds, num_slow_seeds))
        self.lengths = {name: quality_sets.num_rounds(name, cap) for name in sets}

    def own(self, name: str) -> list[dict[str, Any]]:
        """Returns the rows of one of our policies."""
        task = self.progress.add_task(name, total=len(self.sets) * len(self.seeds))
        return [self._row(name, "", each, self._own(name, each, task)) for each in self.sets]

    def library(self, name: str) -> list[dict[str, Any]]:
        """Returns the rows of a library."""
        sets = self.sets
        chosen = dict.fromkeys(sets, SETTLED[name]) if self.settled else self._tuned(name)
        seeds = self.slow_seeds if peers.LIBRARIES[name].slow else self.seeds
        task = self.progress.add_task(name, total=len(sets) * len(seeds))
        played = {each: [self._peer(name, chosen[each], each, seed, self.lengths[each], task) for seed in seeds] for each in sets}
        return [self._row(name, chosen[each], each, outcomes) for each, outcomes in played.items()]

    def _tuned(self, name: str) -> dict[str, str]:
        """Returns for each set the setting with the best mean rank on all others, in their first order."""
        settings, sets = peers.LIBRARIES[name].settings, self.sets
        task = self.progress.add_task(f"{name}, tuning", total=len(settings) * len(sets))
        most = SLOW_TUNING if peers.LIBRARIES[name].slow else max(self.lengths.values())
        tried = [[self._peer(name, setting, each, 0, min(most, self.lengths[each]), task) for each in sets] for setting in settings]
        ranks = rankdata(-np.array([[outcome.reward for outcome in row] for row in tried]), axis=0)
        best = (ranks.sum(axis=1, keepdims=True) - ranks).argmin(axis=0)
        return {each: list(settings)[place] for each, place in zip(sets, best, strict=True)}

    def _own(self, name: str, each: str, task: Any) -> list[Outcome]:
        own, length = OWN[name], self.lengths[each]
        setting = f"{own.policy(1)!r} {own.phi}"
        keys = [Key(name, recsdk.__version__, setting, each, length, seed) for seed in self.seeds]
        return [self._play(key, lambda key=key: play_own(own, each, length, key.seed), task) for key in keys]

    def _peer(self, name: str, setting: str, each: str, seed: int, length: int, task: Any) -> Outcome:
        library = peers.LIBRARIES[name]
        peer = library.settings[setting]
        key = Key(name, str(library.version), repr(peer), each, length, seed)
        return self._play(key, lambda: play_peer(peer, each, length, seed), task)

    def _play(self, key: Key, play: Any, task: Any) -> Outcome:
        outcome = self.memory(key, play)
        self.progress.advance(task)
        return outcome

    def _row(self, name: str, setting: str, each: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        rewards = [outcome.reward for outcome in outcomes]
        microseconds = float(np.median([outcome.seconds for outcome in outcomes])) * 1e6
        return {"contestant": name, "setting": setting, "set": each, "rewards": rewards, "microseconds": microseconds}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    chosen = _parser().parse_args(arguments)
    if chosen.default not in chosen.contestants:
        chosen.contestants = [chosen.default, *chosen.contestants]
    memory, missing, machine = Memory(chosen.memory), peers.missing(), report.machine()
    for name in chosen.again:
        memory.forget(name)
    with Progress(*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        bakeoff = Bakeoff(chosen.sets, chosen.seeds, chosen.slow_seeds, chosen.cap, memory, bar, chosen.settled)
        rows = [row for name in chosen.contestants if name in OWN for row in bakeoff.own(name)]
        for name in chosen.contestants:
            if name in peers.LIBRARIES and name not in missing:
                rows += bakeoff.library(name)
    results: dict[str, Any] = {
        "command": _command(chosen),
        "machine": machine,
        "default": chosen.default,
        "settled": chosen.settled,
        "own": [name for name in chosen.contestants if name in OWN],
        "versions": {name: library.version for name, library in peers.LIBRARIES.items()},
        "missing": {name: text for name, text in missing.items() if name in chosen.contestants},
        "lengths": bakeoff.lengths,
        "rows": rows,
        "compared": quality_report.compare(rows, chosen.default, list(OWN)),
    }
    print(json.dumps(results, indent=1) if chosen.json else quality_report.full(results))
    if chosen.write:
        report.write(DOCS / "quality.md", chosen.block, quality_report.full(results))
        quality_report.draw(results, DOCS / f"{chosen.block}.svg")
    return 0


def _command(chosen: argparse.Namespace) -> str:
    names = ("contestants", "sets", "seeds", "slow_seeds", "cap", "default", "settled")
    given = {name: getattr(chosen, name) for name in names if getattr(chosen, name) != _parser().get_default(name)}
    texts = {name: ",".join(value) if isinstance(value, list) else value for name, value in given.items()}
    for name, sets in quality_sets.GROUPS.items():
        if tuple(chosen.sets) == sets:
            texts["sets"] = name
    options = (f"--{name.replace('_', '-')}" if text is True else f"--{name.replace('_', '-')} {text}" for name, text in texts.items())
    return " ".join(["python benchmarks/quality.py", *options])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    names, sets = [*OWN, *peers.LIBRARIES], quality_sets.names()
    parser.add_argument("--contestants", default=names, type=_among(names), help=f"of {', '.join(names)}")
    parser.add_argument("--sets", default=sets, type=_sets(sets), help=f"{' or '.join(quality_sets.GROUPS)}, or of {', '.join(sets)}")
    parser.add_argument("--seeds", default=10, type=int, help="orders of each set (%(default)s)")
    parser.add_argument("--slow-seeds", default=10, type=int, help="orders that slow libraries play (%(default)s)")
    parser.add_argument("--cap", default=10_000, type=int, help="events of a set at most, but for letter and pendigits (%(default)s)")
    parser.add_argument("--default", default=DEFAULT, choices=list(OWN), help="our policy that is compared with each peer (%(default)s)")
    parser.add_argument("--settled", action="store_true", help="libraries play what was best on the sets outside KEEL's, without tuning")
    parser.add_argument("--block", default="quality", help="block of docs/quality.md, and name of the picture (%(default)s)")
    parser.add_argument("--again", default=[], type=_among(names), help="contestants to play again, though remembered")
    parser.add_argument("--memory", default=MEMORY, type=Path, help="file of what was played (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--write", action="store_true", help="put the tables and the picture into docs/quality.md")
    return parser


def _sets(known: Sequence[str]) -> Any:
    names = _among([*known, *quality_sets.STREAMS])
    return lambda text: list(quality_sets.GROUPS[text]) if text in quality_sets.GROUPS else names(text)


def _among(known: Sequence[str]) -> Any:
    def names(text: str) -> list[str]:
        wanted = text.split(",")
        if unknown := [name for name in wanted if name not in known]:
            raise argparse.ArgumentTypeError(f"must be of {', '.join(known)}, separated by commas, got {', '.join(unknown)}")
        return wanted

    return names


if __name__ == "__main__":
    sys.exit(main())
