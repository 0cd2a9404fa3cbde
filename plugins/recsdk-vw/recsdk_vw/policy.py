"""The policy."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Literal

import attrs
import numpy as np

from recsdk.base import Array, Context, Interaction, Rng
from recsdk.checks import integer, number
from recsdk.errors import InvalidValue, one_of
from recsdk_vw import arguments, examples, learner, models
from recsdk_vw.arguments import EXPLORATIONS, HYPERPARAMETERS, Exploration
from recsdk_vw.examples import Candidates, Layout
from recsdk_vw.learner import Learner, Settings
from recsdk_vw.options import DEFAULT_LEARNING_RATE


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
        namespaces: (letter, start, stop): which of phi's columns VW sees in which of its namespaces, as slices; stop None is phi's end, and
            columns in no slice are left out. By default all are in `f`. In each, features are numbered from 0.
        item_namespace: letter of a namespace with the candidate's catalogue slot as a feature of its own, hashed; "" for none.
        interactions: namespaces to multiply, such as ("ui", "uia"); "ff" has every pair of the features in f.
        initial_regressor: path of a VW model to begin from; "" for none. It is read, and compared with `initial_sha256`, in `init` too.
        initial_sha256: hash of that file's content, by default that of the file as it is. The policy is known by it; the path is moot.
        options: further options in VW's words, such as "--noconstant", "--coin" or "--power_t 0.3".

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
    learning_rate: float = attrs.field(default=DEFAULT_LEARNING_RATE, validator=number(above=0))
    bits: int = attrs.field(default=18, validator=[integer(at_least=1), number(at_most=30)])
    seed: int = attrs.field(default=0, validator=[integer(at_least=0), number(at_most=2**64 - 1)])
    min_reward: float = attrs.field(default=0.0, validator=number())
    max_reward: float = attrs.field(default=1.0, validator=number())
    namespaces: tuple[tuple[str, int, int | None], ...] = attrs.field(default=(("f", 0, None),), converter=arguments.tuples)
    item_namespace: str = attrs.field(default="", validator=attrs.validators.instance_of(str))
    interactions: tuple[str, ...] = attrs.field(default=(), converter=tuple)
    initial_regressor: str = attrs.field(default="", converter=os.fspath, eq=False, repr=False)
    initial_sha256: str = attrs.field(default=attrs.Factory(lambda self: models.sha256(self.initial_regressor), takes_self=True))
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
        arguments.check_layout(self)
        if self.options:
            learner.check(arguments.command_line(self))
        if self._has_model:
            if self.seed:
                raise InvalidValue(
                    f"VW.seed must be 0 with an initial_regressor, which brings the seed it was learned with, got {self.seed}."
                )
            models.check(arguments.command_line(self), self.initial_regressor, self.initial_sha256)

    def init(self, prior: Array) -> Learner:
        """See `recsdk.base.Policy`; of `prior` only the length matters.

        Raises:
            InvalidValue: when a namespace has none of its columns, or the initial model's file is not what it was.
        """
        arguments.check_columns(self, len(prior))
        model = models.load(self.initial_regressor, self.initial_sha256) if self._has_model else b""
        return Learner(self.settings, len(prior), model=model)

    def probs(self, state: Learner, rng: Rng, context: Context) -> Array:
        """See `recsdk.base.Policy`."""
        del rng
        places, rows = self.candidates(context, state.dim)
        pmf = examples.share(np.array(state.predict(examples.question(rows))), rows)
        probs = np.zeros(len(context.mask))
        probs[places] = pmf / pmf.sum()
        return probs

    def update(self, state: Learner, interaction: Interaction) -> Learner:
        """See `recsdk.base.Policy`. VW would skip or alter bad values without a word, so they are refused here.

        Raises:
            InvalidReward, InvalidPropensity, InvalidContext, InvalidValue: see `recsdk_vw.examples.refuse` and `candidates`.
        """
        examples.refuse(self, interaction)
        shown = self.candidates(interaction.context, state.dim)
        if interaction.weight > 0:
            state.learn(examples.lesson(self, shown, interaction))
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
        return learner.loads(data, self.settings)

    def close(self, state: Learner) -> None:
        """See `recsdk.base.Native`."""
        state.close()

    @property
    def settings(self) -> Settings:
        """Returns the settings that this policy's states depend on."""
        return Settings(arguments.command_line(self), self.seed, self._layout, self.initial_sha256)

    def candidates(self, context: Context, dim: int) -> Candidates:
        """Returns a context's candidates as VW reads them."""
        return examples.candidates(context, dim, self._layout)

    @property
    def _has_model(self) -> bool:
        return bool(self.initial_regressor or self.initial_sha256)

    @property
    def _layout(self) -> Layout:
        return Layout(self.namespaces, self.item_namespace)
