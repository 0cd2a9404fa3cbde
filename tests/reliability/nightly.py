"""What the long reliability run does: many seeds of every sweep, and the mutants."""

import itertools
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from tests.reliability import damage, kills, mutants, power

COUNT = 20
"""Calls in each run."""
DISKS = 2_000
"""After a power cut in each run."""
Found = TypeVar("Found")


def nightly(num_kills: int = 900, num_disks: int = 70_000, num_cuts: int = 3_000) -> Iterator[str]:
    """Yields every fault, and prints the totals."""
    killed = list(until_enough(_kills, lambda found: found.total, num_kills))
    yield from (fault for found in killed for fault in found.faults)
    print(f"{sum(found.total for found in killed)} processes killed, in runs of {len(killed)} seeds", flush=True)
    flips = damage.sweep(0, 500, num_cuts)
    yield from flips.faults
    print(
        f"{flips.flips} flipped bits and {flips.cuts} cut files, of which {flips.refused} were refused and the rest read as they were",
        flush=True,
    )
    cut = list(until_enough(_cuts, lambda found: found.disks, num_disks))
    yield from (fault for found in cut for fault in found.faults)
    gone_on = sum(found.gone_on for found in cut)
    print(
        f"{sum(found.disks for found in cut)} disks after a power cut, of {len(cut)} traces; on {gone_on} of them the loop went on",
        flush=True,
    )


def until_enough(sweep: Callable[[int], Found], size: Callable[[Found], int], wanted: int) -> Iterator[Found]:
    """Yields what sweeps find, one seed after the other, until they are as large as wanted; each has a process of its own."""
    seeds, processes, total = itertools.count(), os.cpu_count() or 1, 0
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        while total < wanted:
            for found in pool.map(sweep, itertools.islice(seeds, processes)):
                total += size(found)
                yield found


def _kills(seed: int) -> kills.Killed:
    return kills.sweep(seed, COUNT)


def _cuts(seed: int) -> power.Cuts:
    return power.sweep(seed, COUNT, DISKS, ("power-loss", "process-crash")[seed // 6 % 2])


def without_each_protection() -> Iterator[str]:
    """Yields each protection without which no fault is found, and prints what is found."""
    for mutant in mutants.MUTANTS:
        found = mutants.faults(mutant)
        print(f"{mutant.name:32} {found[0][:100] if found else 'NO FAULT'}", flush=True)
        if not found:
            yield f"without {mutant.name}: no fault"
