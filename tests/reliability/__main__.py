"""The long reliability run: `python -m tests.reliability [nightly|mutants]`. It prints its totals, and ends with 1 after a fault."""

import sys

from tests.reliability.nightly import nightly, without_each_protection

if __name__ == "__main__":
    faults = list(without_each_protection() if sys.argv[1:] == ["mutants"] else nightly())
    print(f"{len(faults)} faults", *faults, sep="\n")
    sys.exit(bool(faults))
