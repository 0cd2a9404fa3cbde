"""A log of random choices, written as plain rows; three policies replayed over it; and the truth, since this world is made up."""

import json
import tempfile
from pathlib import Path

import recsdk
from recsdk.datasets import read_log
from recsdk.environments import LinearWorld
from recsdk.ope import delta, matched_mean, rounds

WORLD = LinearWorld(num_candidates=5, dim=6, noise=0.5)
NUM_ROUNDS = 3000
POLICIES = (recsdk.Uniform(), recsdk.EpsilonGreedy(), recsdk.LinUCB(), recsdk.LinTS())


def write_rows(log: recsdk.Interaction, path: Path) -> None:
    """Writes what any service that logs propensities could write, one JSON object a line."""
    columns = (log.context.features, log.action, log.reward, log.propensity)
    names = ("features", "action", "reward", "propensity")
    with path.open("w") as file:
        for row in zip(*(column.tolist() for column in columns), strict=True):
            print(json.dumps(dict(zip(names, row, strict=True))), file=file)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "yesterday.jsonl")
        write_rows(recsdk.simulate(recsdk.Uniform(), WORLD, NUM_ROUNDS, engine="numpy").log, path)
        log = read_log(path)
    print(f"{len(log.reward)} rounds of uniformly random choices earned {log.reward.mean():.3f} a round")

    print(f"{'policy':15}{'learned from':>14}{'matched mean':>15}{'95 % interval':>20}{'in truth':>11}")
    for policy in POLICIES:
        # A policy that learns where its own choice is the logged one lives, on this log, as it would have lived alone.
        played = recsdk.replay(policy, log, learn_from="matched", engine="numpy")
        found = delta(matched_mean(rounds(log, played.decision.probs, matched=played.matched)))
        num_matched = int(played.matched.sum())
        truth = recsdk.simulate(policy, WORLD, num_matched, engine="numpy").value.mean()
        interval = f"[{found.low:.3f}, {found.high:.3f}]"
        print(f"{type(policy).__name__:15}{num_matched:>7} rounds{found.value:>15.3f}{interval:>20}{truth:>11.3f}")


if __name__ == "__main__":
    main()
