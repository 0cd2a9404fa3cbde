"""A policy: a distribution over candidates and an update rule. Never a draw. The conformance kit says whether recsdk can rely on it."""

import unittest
from typing import ClassVar

import attrs

import recsdk
from recsdk import checks, environments, explore, testing
from recsdk.base import Array, Context, Interaction, Rng


@attrs.frozen(kw_only=True)
class InverseGap:
    """The further a candidate's estimate is below the best, the more rarely it is shown (Foster and Rakhlin, ICML 2020)."""

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")  # it takes its array library from its arguments
    learns_from: ClassVar[str] = "chosen"

    # Larger is greedier. The state is f64[D], the weights of a linear estimate; a record of arrays would do as well.
    gamma: float = attrs.field(default=50.0, validator=checks.number(above=0))

    def init(self, prior: Array) -> Array:
        """Returns the state before any interaction."""
        return prior * 1.0

    def probs(self, state: Array, rng: Rng, context: Context) -> Array:
        """Returns f64[K], a distribution over the candidates."""
        scores, real = context.features @ state, explore.uniform(context.mask)  # real: 1 / K each
        best = explore.greedy(scores, context.mask)  # ties share
        gaps = (best * scores).sum() - scores
        rest = scores.__array_namespace__().where(best > 0, 0.0, real / (1 + self.gamma * real * gaps))
        return rest + (1 - rest.sum()) * best

    def update(self, state: Array, interaction: Interaction) -> Array:
        """Returns the state after one interaction; one of weight 0 must change nothing."""
        (features, _, _), action, reward, _, weight = interaction
        x = features[action]
        return state + 0.2 * weight / (1 + weight * (x @ x)) * (reward - x @ state) * x


def main() -> None:
    for check in testing.POLICY_CHECKS:
        law = check.__name__.removeprefix("check_")
        try:
            check(InverseGap())
            print(f"{law:12} holds")
        except unittest.SkipTest as reason:
            print(f"{law:12} does not apply: {reason}")
        except AssertionError as error:
            print(f"{law:12} BROKEN: {error}")
    for policy in (recsdk.Uniform(), InverseGap(), recsdk.LinTS()):
        regret = recsdk.simulate(policy, environments.LinearWorld(), 2000, engine="numpy").regret
        print(f"{type(policy).__name__:10} regret per round, at the end {regret[-500:].mean():.3f}")


if __name__ == "__main__":
    main()
