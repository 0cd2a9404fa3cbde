"""The policy."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import attrs
import numpy as np

from recsdk.base import Array, Context, Interaction, Rng
from recsdk.checks import integer, number
from recsdk.errors import InvalidContext, InvalidPropensity, InvalidReward, InvalidValue, one_of
from recsdk_vw import arguments, examples, learner
from recsdk_vw.arguments import EXPLORATIONS, HYPERPARAMETERS, Exploration
from recsdk_vw.learner import Learner

MAX_WEIGHT = 1e4
"""Above it the float32 in which VW keeps a weight would lose more than 0.06 % of it."""


def _exploration(policy: VW) -> Exploration:
    one_of("VW.exploration", policy.exploration, EXPLORATIONS)
    return EXPLORATIONS[policy.exploration]


def _tunable(name: str, validator: Any) -> Any:
    """Returns a field whose default is that of the exploration: None where it does not go with it."""
    default = attrs.Factory(lambda self: _exploration(self).defaults.get(name), takes_self=True)
    return attrs.field(default=default, validator=attrs.validators.optional(validator))


@attrs.frozen(kw_only=True)
class VW:
    """Vowpal Wabbit's contextual bandit with action-dependent features.

    The probabilities are VW's own, a function of the state and the context; the caller's rng is not used. VW computes them in float32, so
    they sum to 1 within 1e-6; they are cast to float64 and divided by their sum once. VW begins at zero weights: of `init`'s prior only the
    length matters, so on day one all candidates are (nearly) alike, whatever the deep model says.

    The state is a handle that learns in place. What the policy learns is kept exactly by `dumps` and `loads` (see `recsdk_vw.learner`).

    Attributes:
        exploration: how probabilities follow from the estimated costs.
        epsilon: share of uniform exploration, in [0, 1]; the least probability times K. For cover, None lets it decay. Not for regcb.
        inverse_temperature: of softmax, VW's lambda; > 0, larger is greedier. 1 is nearly uniform for rewards in [0, 1].
        num_models: of bag, cover and rnd: bootstrapped models, covering policies, random targets.
        psi: of cover: how much its policies disagree.
        gamma_scale: of squarecb: greediness grows as gamma_scale * rounds ** gamma_exponent.
        gamma_exponent: of squarecb.
        mellowness: of regcb: how wide its confidence intervals are.
        rnd_alpha: of rnd: how wide its intervals are on features that were seen.
        rnd_invlambda: of rnd: how wide on features that were not.
        num_rounds: of first: rounds of uniform exploration before it exploits.
        cb_type: how costs are estimated from logged ones; squarecb and regcb know "mtr" only, and cover not "dm".
        learning_rate: of VW's online gradient descent.
        bits: VW keeps 2 ** bits weights, in 16 * 2 ** bits bytes.
        seed: of the randomness inside bag and rnd.
        min_reward: least reward that may occur. The cost is minus the reward; regcb needs to know its range.
        max_reward: largest reward that may occur.
        options: further options in VW's words, such as "--noconstant" or "-q ff"; the features are in the namespace f, numbered from 0.

    References:
        Bietti, Agarwal, Langford, A Contextual Bandit Bake-off, JMLR 2021.
        Foster, Rakhlin, Beyond UCB: Optimal and Efficient Contextual Bandits with Regression Oracles, ICML 2020 (squarecb).
    """

    runs_on: ClassVar[tuple[str, ...]] = ("numpy",)
    learns_from: ClassVar[str] = "all"

    exploration: Literal["epsilon", "softmax", "bag", "cover", "squarecb", "regcb", "rnd", "first"]
    epsilon: float | None = _tunable("epsilon", number(at_least=0, at_most=1))
    inverse_temperature: float | None = _tunable("inverse_temperature", number(above=0))
    num_models: int | None = _tunable("num_models", integer(at_least=1))
    psi: float | None = _tunable("psi", number(at_least=0))
    gamma_scale: float | None = _tunable("gamma_scale", number(above=0))
    gamma_exponent: float | None = _tunable("gamma_exponent", number(at_least=0))
    mellowness: float | None = _tunable("mellowness", number(above=0))
    rnd_alpha: float | None = _tunable("rnd_alpha", number(above=0))
    rnd_invlambda: float | None = _tunable("rnd_invlambda", number(above=0))
    num_rounds: int | None = _tunable("num_rounds", integer(at_least=1))
    cb_type: Literal["mtr", "dr", "ips", "dm"] = attrs.field(default="mtr")
    learning_rate: float = attrs.field(default=0.5, validator=number(above=0))
    bits: int = attrs.field(default=18, validator=[integer(at_least=1), number(at_most=30)])
    seed: int = attrs.field(default=0, validator=[integer(at_least=0), number(at_most=2**64 - 1)])
    min_reward: float = attrs.field(default=0.0, validator=number())
    max_reward: float = attrs.field(default=1.0, validator=number())
    options: str = attrs.field(default="", validator=attrs.validators.instance_of(str))

    def __attrs_post_init__(self) -> None:
        """Refuses values that do not go together."""
        _, defaults, cb_types = _exploration(self)
        one_of(f"VW.cb_type with exploration {self.exploration!r}", self.cb_type, cb_types)
        for name in HYPERPARAMETERS:
            value = getattr(self, name)
            if value is not None and name not in defaults:
                raise InvalidValue(
                    f"VW.{name} does not go with exploration {self.exploration!r}, which takes {list(defaults)}, got {value}."
                )
            if value is None and defaults.get(name) is not None:
                raise InvalidValue(f"VW.{name} must be a number with exploration {self.exploration!r}, got None.")
        if not self.min_reward < self.max_reward:
            raise InvalidValue(f"VW.min_reward must be below max_reward, got {self.min_reward} and {self.max_reward}.")
        if self.options:
            learner.check(arguments.command_line(self))

    def init(self, prior: Array) -> Learner:
        """See `recsdk.base.Policy`; of `prior` only the length matters."""
        return Learner(arguments.command_line(self), self.seed, len(prior))

    def probs(self, state: Learner, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        del rng
        places, rows = examples.candidates(context, state.dim)
        pmf = examples.share(np.array(state.predict(examples.question(rows))), rows)
        probs = np.zeros(len(context.mask))
        probs[places] = pmf / pmf.sum()
        return probs

    def update(self, state: Learner, interaction: Interaction) -> Learner:
        """See `recsdk.base.Policy`. VW would skip or alter bad values without a word, so they are refused here.

        Raises:
            InvalidReward: outside [min_reward, max_reward].
            InvalidPropensity: outside (0, 1], or 0 in float32.
            InvalidContext: see `recsdk_vw.examples.candidates`; or the action is padding.
            InvalidValue: a weight outside [0, 1e4].
        """
        self._check(interaction)
        context, action, reward, propensity, weight = interaction
        places, rows = examples.candidates(context, state.dim)
        if weight == 0:
            return state
        chosen = rows[int(np.flatnonzero(places == action)[0])]
        if self.exploration in ("squarecb", "regcb"):
            # They learn without importance weights; VW forgets to set this for the last candidate, cb_explore_adf_squarecb.cc, learn().
            propensity = 1.0
        line = examples.answer(rows, rows.index(chosen), cost=-reward, propensity=propensity, weight=weight)
        state.learn(line)
        return state

    def dumps(self, state: Learner) -> bytes:
        """See `recsdk.base.Native`."""
        return state.dumps()

    def loads(self, data: bytes) -> Learner:
        """See `recsdk.base.Native`.

        Raises:
            LedgerCorrupt: when `data` is not what `dumps` wrote.
            LedgerMismatch: when it was written by a `VW` with other fields.
        """
        return learner.loads(data, arguments.command_line(self), self.seed)

    def close(self, state: Learner) -> None:
        """See `recsdk.base.Native`."""
        state.close()

    def _check(self, interaction: Interaction) -> None:
        context, action, reward, propensity, weight = interaction
        if not (0 <= action < len(context.mask) and context.mask[action]):
            raise InvalidContext(f"action must be the index of a real candidate, one of {np.flatnonzero(context.mask)}, got {action}.")
        # `not (...)` rather than the reverse comparisons, so that NaN is refused too.
        if not self.min_reward <= reward <= self.max_reward:
            raise InvalidReward(f"reward must be in [{self.min_reward}, {self.max_reward}], the range declared in VW, got {reward}.")
        if not (propensity <= 1 and np.float32(propensity) > 0):
            raise InvalidPropensity(f"propensity must be in (0, 1], got {propensity}.")
        if not 0 <= weight <= MAX_WEIGHT:
            raise InvalidValue(f"weight must be in [0, {MAX_WEIGHT:g}] to be kept by VW's float32, got {weight}.")
