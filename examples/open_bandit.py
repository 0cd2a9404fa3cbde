"""What would Bernoulli Thompson sampling have earned in the shop that showed fashion items at random? Asked of a real log.

The log is a part of the Open Bandit Dataset (ZOZO, Inc., CC BY 4.0) that ships with recsdk. The shop ran Thompson sampling too, so its
own log says what the answer should be. 38 clicks say little, though: look at the intervals.
"""

import rich

from recsdk import Interaction, ope
from recsdk.datasets import bernoulli_ts_probs, load_open_bandit
from recsdk.ope.report import report


def on_policy(log: Interaction) -> ope.Estimate:
    """Returns the mean click rate of a log with its interval."""
    return ope.delta(ope.average(log.reward, log.weight))


def main() -> None:
    random, thompson = load_open_bandit("random"), load_open_bandit("bts")
    evaluation = ope.evaluate(random.log, bernoulli_ts_probs(random.position))
    rich.print(report(evaluation))

    ips, truth = evaluation.estimates["ips"], on_policy(thompson.log)
    logged = on_policy(random.log)
    print()
    print(f"shown at random, clicks per item   {logged.value:.4f} in [{logged.low:.4f}, {logged.high:.4f}]")
    print(f"Thompson sampling, from that log   {ips.value:.4f} in [{ips.low:.4f}, {ips.high:.4f}] (IPS)")
    print(f"Thompson sampling, its own log     {truth.value:.4f} in [{truth.low:.4f}, {truth.high:.4f}]")
    print(f"relative to the random choice      {ips.value / logged.value:.6f} (the data set's own quickstart has 1.198126)")


if __name__ == "__main__":
    main()
