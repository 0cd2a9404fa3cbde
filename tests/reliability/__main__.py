"""The long reliability run, half an hour and more; it prints its totals, and ends with 1 after a fault."""

import argparse

from tests.reliability.nightly import nightly, without_each_protection

RUNS = {"nightly": nightly, "mutants": without_each_protection}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("run", choices=RUNS, nargs="?", default="nightly", help="mutants: each protection taken out must be noticed")
    faults = list(RUNS[parser.parse_args().run]())
    print(f"{len(faults)} faults", *faults, sep="\n")
    raise SystemExit(bool(faults))
