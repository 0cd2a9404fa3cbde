"""The long reliability run: `python -m tests.reliability [nightly|mutants]`. It prints its totals, and ends with 1 after a fault."""

import sys
from collections.abc import Iterator
from functools import partial

from tests.reliability import damage, kills, mutants, power

COUNT = 20
"""Calls in each run."""


def nightly(num_kills: int = 900, num_simulated: int = 70_000) -> Iterator[str]:
    """Yields every fault, and prints the totals."""
    killed = damaged = cut = seed = 0
    while killed < num_kills:
        found = kills.Killed(*kills.forked(partial(kills.sweep, seed, COUNT)))
        killed, seed = killed + found.total, seed + 1
        yield from found.faults
    print(f"{killed} processes killed, in runs of {seed} seeds")
    flips = damage.sweep(0, 500, None)
    damaged = flips.flips + flips.cuts
    yield from flips.faults
    print(f"{flips.flips} flipped bits and {flips.cuts} cut files, of which {flips.refused} were refused and the rest read as they were")
    seed = 0
    while damaged + cut < num_simulated:
        durability = ("power-loss", "process-crash")[seed // 6 % 2]
        disks = power.Cuts(*kills.forked(partial(power.sweep, seed, COUNT, 2_000, durability)))
        cut, seed = cut + disks.disks, seed + 1
        yield from disks.faults
    print(f"{cut} disks after a power cut, of {seed} traces")


def without_each_protection() -> Iterator[str]:
    """Yields each protection without which no fault is found, and prints what is found."""
    for mutant in mutants.MUTANTS:
        found = mutants.faults(mutant)
        print(f"{mutant.name:32} {found[0][:100] if found else 'NO FAULT'}", flush=True)
        if not found:
            yield f"without {mutant.name}: no fault"


if __name__ == "__main__":
    faults = list(without_each_protection() if sys.argv[1:] == ["mutants"] else nightly())
    print(f"{len(faults)} faults", *faults, sep="\n")
    sys.exit(bool(faults))
