"""Makes open_bandit.npz, the copy of a small part of the Open Bandit Dataset that ships with recsdk.

    python recsdk/datasets/_data/make_open_bandit.py FOLDER TARGET

FOLDER has, of the package obp, `{random,bts}_all_log.csv.gz` and `{random,bts}_all_item_context.csv.gz`. TARGET is a CSV of 80
rows and 3 columns without a header: obp's `BernoulliTS(n_actions=80, len_list=3, is_zozotown_prior=True, campaign="all",
random_state=12345).compute_batch_action_dist(n_sim=100000)`.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from recsdk.datasets.open_bandit import read_raw


def main(folder: Path, target: Path) -> None:
    """Writes the compact copy beside this file."""
    columns: dict[str, Any] = {"target": np.loadtxt(target, delimiter=",")}
    for policy in ("random", "bts"):
        raw = read_raw(folder / f"{policy}_all_log.csv.gz", folder / f"{policy}_all_item_context.csv.gz")
        row, item = np.nonzero(raw.affinity)
        user_values, user = np.unique(raw.user, return_inverse=True)
        item_values, item_category = np.unique(raw.item_category, return_inverse=True)
        compact = {
            "item": raw.item.astype(np.uint8),
            "position": raw.position.astype(np.uint8),
            "click": raw.click.astype(np.uint8),
            "propensity": raw.propensity,
            "user": user.reshape(raw.user.shape).astype(np.uint8),
            "user_values": user_values,
            "affinity_row": row.astype(np.uint16),
            "affinity_item": item.astype(np.uint8),
            "affinity_value": raw.affinity[row, item].astype(np.uint8),
            "item_number": raw.item_number,
            "item_category": item_category.reshape(raw.item_category.shape).astype(np.uint8),
            "item_values": item_values,
        }
        columns.update({f"{policy}_{name}": column for name, column in compact.items()})
    np.savez_compressed(Path(__file__).with_name("open_bandit.npz"), **columns)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
