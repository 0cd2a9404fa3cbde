"""Which e-mail to whom? A policy is learned on one half of a real experiment and valued on the other, which it has never seen.

Kevin Hillstrom's test of 2008: 64,000 customers got an e-mail with men's clothes, one with women's, or none, a third each at random. The
reward is a visit within two weeks.
"""

import argparse
import csv
import gzip
import os
import sys
from pathlib import Path

import numpy as np

import recsdk
from recsdk import ope
from recsdk.ope.comparison import compare

SHARED = Path(os.environ.get("RECSDK_SHARED", Path(__file__).parents[2] / "shared"))
EMAILS = ("No E-Mail", "Mens E-Mail", "Womens E-Mail")
NUMBERS, KINDS = ("recency", "history", "mens", "womens", "newbie"), (("zip_code", "Rural"), ("zip_code", "Urban"), ("channel", "Web"))


def read(path: Path) -> recsdk.Interaction:
    """Reads the test as a log; phi has a block of the customer's features for each e-mail."""
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    known = np.array([[float(row[name]) for name in NUMBERS] + [float(row[name] == kind) for name, kind in KINDS] for row in rows])
    customer = np.column_stack([(known - known.mean(0)) / known.std(0), np.ones(len(rows))])
    features = np.einsum("ab,td->tabd", np.eye(3), customer).reshape(len(rows), 3, -1)
    action, reward = np.array([(EMAILS.index(row["segment"]), int(row["visit"])) for row in rows]).T
    context = recsdk.Context(features, np.ones((len(rows), 3), np.bool_), np.tile(np.arange(3), (len(rows), 1)))
    return recsdk.Interaction(context, action, reward.astype(float), np.full(len(rows), 1 / 3), np.ones(len(rows)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", type=Path, default=SHARED / "data" / "hillstrom" / "hillstrom.csv.gz")
    path = parser.parse_args().path
    if not path.is_file():
        sys.exit(f"There is no {path}: give the table of Hillstrom's test by --path.")
    first, second = ope.split(read(path), by="random")
    policy = recsdk.LinUCB(alpha=0.0)  # shows what a ridge regression says is best
    learned = recsdk.replay(policy, first, engine="numpy").state
    to_all = np.broadcast_to(np.eye(3), (len(second.reward), 3, 3))
    targets = {f"{email} to all": to_all[:, number] for number, email in enumerate(EMAILS)}
    targets["as learned"] = recsdk.replay(policy, second, learn_from="none", state=learned, engine="numpy").decision.probs
    q_hat, terms = ope.fit_reward_model(second).q_hat, {}
    for name, target in targets.items():
        found = ope.evaluate(second, target, q_hat=q_hat)
        value, terms[name] = found.estimates["dr"], ope.dr(ope.rounds(second, target, q_hat=q_hat))
        print(f"{name:21} {value.value:.4f} visits a customer, in [{value.low:.4f}, {value.high:.4f}] ({found.verdict})")
    for name, each in compare(terms, terms.pop("Mens E-Mail to all")).items():
        print(f"{name:21} {each.difference.value:+.4f} beside the men's, in [{each.difference.low:+.4f}, {each.difference.high:+.4f}]")


if __name__ == "__main__":
    main()
