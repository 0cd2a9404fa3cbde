"""What would Bernoulli Thompson sampling have earned in the shop that showed fashion items at random? Asked of a real log.

The log is a part of the Open Bandit Dataset (ZOZO, Inc., CC BY 4.0) that ships with recsdk. The shop ran Thompson sampling too, so its
own log says what the answer should be. 38 clicks say little, though: look at the intervals.
"""

import rich

from recsdk import Interaction, ope
from recsdk.datasets import bernoulli_ts_probs, load_open_bandit
from recsdk.ope import intervals
from recsdk.ope.comparison import difference
from recsdk.ope.report import report


def on_policy(log: Interaction) -> ope.Terms:
    """Returns the click rate of a log."""
    return ope.average(log.reward, log.weight)


def show(name: str, estimate: ope.Estimate) -> None:
    print(f"{name:35}{estimate.value:8.4f} in [{estimate.low:.4f}, {estimate.high:.4f}]")


def main() -> None:
    random, thompson = load_open_bandit("random"), load_open_bandit("bts")
    target = bernoulli_ts_probs(random.position)
    evaluation = ope.evaluate(random.log, target)
    rich.print(report(evaluation))

    rounds = ope.rounds(random.log, target)
    ips, logged = ope.ips(rounds), on_policy(random.log)
    print()
    show("shown at random, clicks per item", ope.delta(logged))
    show("Thompson sampling, from that log", ope.delta(ips))
    show("  the bootstrap's interval", intervals.bootstrap(ips))
    # 80 items shown at random: no weight can be above 80, and a click is 0 or 1.
    show("  empirical likelihood's", intervals.empirical_likelihood(intervals.bounded(rounds, max_weight=80, reward_range=(0, 1))))
    show("Thompson sampling, its own log", ope.delta(on_policy(thompson.log)))
    show("Thompson sampling less random", ope.delta(difference(ips, logged)))
    relative = ope.value(ips) / ope.value(logged)
    print(f"relative to the random choice      {relative:.6f} (the data set's own quickstart has 1.198126)")


if __name__ == "__main__":
    main()
