"""A policy: a distribution over candidates and an update rule. Never a draw. The conformance kit says whether recsdk can rely on it."""

import unittest
from typing import ClassVar, NamedTuple

import attrs

import recsdk
from recsdk import checks, environments, explore, testing
from recsdk.base import Array, Context, Interaction, Rng


class Weights(NamedTuple):
    """What `Boltzmann` knows: f64[D]."""

    weights: Array


@attrs.frozen(kw_only=True)
class Boltzmann:
    """Draws candidates in proportion to exp(estimate / temperature); the estimate is linear, learned by normalised gradient steps."""

    runs_on: ClassVar[tuple[str, ...]] = ("numpy", "jax")  # it takes its array library from its arguments
    learns_from: ClassVar[str] = "chosen"

    temperature: float = attrs.field(default=0.1, validator=checks.number(above=0))
    rate: float = attrs.field(default=0.2, validator=checks.number(above=0, at_most=1))

    def init(self, prior: Array) -> Weights:
        """Returns the state before any interaction."""
        return Weights(prior * 1.0)

    def probs(self, state: Weights, rng: Rng, context: Context) -> Array:
        """Returns f64[K], a distribution over the candidates."""
        return explore.softmax(context.features @ state.weights, context.mask, self.temperature)

    def update(self, state: Weights, interaction: Interaction) -> Weights:
        """Returns the state after one interaction; one of weight 0 must change nothing."""
        x = interaction.context.features[interaction.action]
        share = interaction.weight * self.rate / (1 + interaction.weight * (x @ x))
        return Weights(state.weights + share * (interaction.reward - x @ state.weights) * x)


def main() -> None:
    for check in testing.POLICY_CHECKS:
        law = check.__name__.removeprefix("check_")
        try:
            check(Boltzmann())
            print(f"{law:12} holds")
        except unittest.SkipTest as reason:
            print(f"{law:12} does not apply: {reason}")
        except AssertionError as error:
            print(f"{law:12} BROKEN: {error}")
    for policy in (recsdk.Uniform(), Boltzmann(), recsdk.LinTS()):
        played = recsdk.simulate(policy, environments.LinearWorld(), 2000, engine="numpy")
        print(f"{type(policy).__name__:10} regret per round {played.regret[-500:].mean():.3f}")


if __name__ == "__main__":
    main()
