"""What a model forgets that goes on with new events alone, and what rehearsal keeps: NDCG@10 on old users and on new ones.

python benchmarks/growth.py --data FOLDER [--encoder mf] [--seeds 1] [--epochs 20]

ml-100k is cut at the time before which 70 % of its events lie. Each part's users are tested on their last item in the part, with their
earlier ones in the part as history: full ranking, history masked. FOLDER is as for `benchmarks/encoders.py`.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
from encoders import read

from recsdk import plugins
from recsdk.base import Events
from recsdk.data import take_events
from recsdk.encoders.rehearsal import rehearse
from recsdk.ranking import Split, by_encoder, leave_one_out, rank_evaluate

OLD = 0.7
SHARES = (0.0, 0.2, 1.0)
SETTINGS = {"dim": 32, "batch_size": 32, "learning_rate": 5e-3, "warmup_steps": 50, "progress": False}
"""Small, with many steps an epoch: the old part has 674 users."""


def parts(log: Events) -> tuple[Split, Split]:
    """Returns the events before and after the cut."""
    cut = np.searchsorted(log.time, log.time[int(OLD * len(log.time))])
    return leave_one_out(take_events(log, slice(0, cut))), leave_one_out(take_events(log, slice(cut, None)))


def main() -> None:
    """Prints a line for each way to go on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ["RECSDK_SHARED"]) / "data" if "RECSDK_SHARED" in os.environ else None
    parser.add_argument("--data", type=Path, default=default, required=default is None)
    parser.add_argument("--encoder", default="mf")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()
    old, new = parts(read("ml-100k", arguments.data, None))
    encoder = plugins.load("encoders", arguments.encoder, epochs=arguments.epochs, **SETTINGS)
    print(f"# {arguments.encoder}: {len(old.refit.item):,} old events, {len(new.refit.item):,} new ones")
    for seed in range(arguments.seeds):
        begun = time.perf_counter()
        before = encoder.fit(old.refit, seed=seed)
        show("fitted to the old", encoder, before, old, new, time.perf_counter() - begun)
        for share in SHARES:
            begun = time.perf_counter()
            log = rehearse(old.refit, new.refit, share=share, seed=seed) if share else new.refit
            state = encoder.fit(log, state=before, seed=seed)
            show(f"goes on, rehearses {share:.0%}", encoder, state, old, new, time.perf_counter() - begun)
        begun = time.perf_counter()
        state = encoder.fit(rehearse(old.refit, new.refit, share=1.0, seed=seed), seed=seed)
        show("fitted to both anew", encoder, state, old, new, time.perf_counter() - begun)


def show(what: str, encoder: object, state: object, old: Split, new: Split, seconds: float) -> None:
    """Prints a line."""
    found = [rank_evaluate(by_encoder(encoder, state), split.test, num_resamples=200).ndcg for split in (old, new)]
    cells = [f"{each.value:.4f} [{each.low:.4f}, {each.high:.4f}]" for each in found]
    print(f"{what:24} old users {cells[0]}, new {cells[1]}, {seconds:5.1f} s", flush=True)


if __name__ == "__main__":
    main()
