"""What each exploration takes, in Vowpal Wabbit's own words, and what a user may add to it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

from recsdk.errors import InvalidValue


class Exploration(NamedTuple):
    """One way to explore.

    Attributes:
        switch: the option that turns it on, where it has no option with a value.
        defaults: its hyper-parameters, by their names in `VW`; None where Vowpal Wabbit decides if the option is absent.
        cb_types: how it may estimate costs.
    """

    switch: tuple[str, ...]
    defaults: Mapping[str, float | None]
    cb_types: tuple[str, ...] = ("mtr", "dr", "ips", "dm")


EXPLORATIONS: Mapping[str, Exploration] = {
    "epsilon": Exploration((), {"epsilon": 0.05}),
    "softmax": Exploration(("--softmax",), {"inverse_temperature": 1.0, "epsilon": 0.0}),
    "bag": Exploration((), {"num_models": 5, "epsilon": 0.0}),
    "cover": Exploration((), {"num_models": 5, "psi": 1.0, "epsilon": None}, ("mtr", "dr", "ips")),
    "squarecb": Exploration(("--squarecb",), {"gamma_scale": 10.0, "gamma_exponent": 0.5, "epsilon": 0.0}, ("mtr",)),
    "regcb": Exploration(("--regcb",), {"mellowness": 0.1}, ("mtr",)),
    "rnd": Exploration((), {"num_models": 1, "rnd_alpha": 0.1, "rnd_invlambda": 0.1, "epsilon": 0.0}),
    "first": Exploration((), {"num_rounds": 100, "epsilon": 0.0}),
}
"""The defaults are Vowpal Wabbit's, and where it has none (`num_models` of bag and cover, `num_rounds`) small ones."""

HYPERPARAMETERS = tuple(dict.fromkeys(name for exploration in EXPLORATIONS.values() for name in exploration.defaults))

# Beside the flags of the explorations: what `VW` sets; other problems and explorations; input, output and stored state, since the state is
# in the handle and goes through `dumps` and `loads`; learners that crash 9.11.9 beside an exploration, learn while they predict,
# or need several passes; ksvm, with which regcb answers NaN.
REFUSED = frozenset(
    """
    bit_precision cb_explore_adf cb_max_cost cb_min_cost cb_type dsjson learning_rate quiet random_seed
    cb cb_adf cb_eval cb_explore cbify ccb_explore_adf elim first_only graph_feedback large_action_space no_predict regcbopt slates
    synthcover audit cache cache_file csv daemon data dictionary feature_mask final_regressor flatbuffer help initial_regressor
    invert_hash json passes port predictions raw_predictions readable_model save_per_pass testonly version
    bfgs boosting freegrad ksvm lrq nn pistol
    """.split()  # noqa: SIM905  (as a list it would be sixty lines)
)
DEFAULT_LEARNING_RATE = 0.5

SHORT = {
    "-a": "audit",
    "-b": "bit_precision",
    "-c": "cache",
    "-d": "data",
    "-f": "final_regressor",
    "-h": "help",
    "-i": "initial_regressor",
    "-k": "cache",
    "-l": "learning_rate",
    "-p": "predictions",
    "-r": "raw_predictions",
    "-t": "testonly",
}


def split(policy: Any) -> tuple[str, ...]:
    """Splits a `VW`'s further options as a shell would, and refuses those that it sets itself or that would break its promises.

    Raises:
        InvalidValue: naming the option.
    """
    options = policy.options
    try:
        tokens = tuple(shlex.split(options))
    except ValueError as error:
        raise InvalidValue(f"VW.options must be words as on a command line, got {options!r}: {error}.") from error
    names = {name for token in tokens if (name := _name(token))}
    if refused := names & (REFUSED | _flags()):
        raise InvalidValue(f"VW.options must not set {sorted(refused)}, which VW sets from its fields or by itself, got {options!r}.")
    if names & {"coin", "ftrl"} and policy.exploration == "regcb":
        raise InvalidValue(
            f"VW.options must not have --coin or --ftrl with regcb, whose intervals are of gradient descent, got {options!r}."
        )
    if names & {"coin", "ftrl"} and policy.learning_rate != DEFAULT_LEARNING_RATE:
        raise InvalidValue(f"VW.learning_rate does nothing beside --coin and --ftrl, which have --ftrl_alpha, got {policy.learning_rate}.")
    if names & {"sgd", "invariant", "normalized"} and "adaptive" not in names:
        # Else what a saved and loaded model learns depends on how many examples it predicted.
        raise InvalidValue(f"VW.options must have --adaptive beside --sgd, --invariant or --normalized, got {options!r}.")
    return tokens


def _name(token: str) -> str | None:
    """Returns the long name of the option that a token starts, and None for a value."""
    if token.startswith("--"):
        return token[2:].partition("=")[0]
    return SHORT.get(token[:2])


def _flags() -> set[str]:
    named = {_flag(name, field)[2:] for name, exploration in EXPLORATIONS.items() for field in exploration.defaults}
    return named | {switch[2:] for exploration in EXPLORATIONS.values() for switch in exploration.switch}


def command_line(policy: Any) -> tuple[str, ...]:
    """Returns Vowpal Wabbit's arguments for a validated `VW`, but for the random seed, which a saved model brings along."""
    words = ["--cb_explore_adf", "--dsjson", "--quiet", *EXPLORATIONS[policy.exploration].switch]
    options = {_flag(policy.exploration, name): getattr(policy, name) for name in EXPLORATIONS[policy.exploration].defaults}
    options |= {"--cb_type": policy.cb_type, "--learning_rate": policy.learning_rate, "--bit_precision": policy.bits}
    if policy.exploration in ("squarecb", "regcb"):
        options |= {"--cb_min_cost": -policy.max_reward, "--cb_max_cost": -policy.min_reward}
    words += [word for flag, value in options.items() if value is not None for word in (flag, str(value))]
    words += [word for letters in policy.interactions for word in ("--interactions", letters)]
    return (*words, *split(policy))


def _flag(exploration: str, name: str) -> str:
    own = {"num_models": exploration, "num_rounds": exploration, "inverse_temperature": "lambda"}
    return f"--{own.get(name, name)}"


def tuples(namespaces: Any) -> Any:
    """Returns namespaces that came as lists, from JSON say, as tuples; what is something else is refused later."""
    return tuple(tuple(one) if isinstance(one, list) else one for one in namespaces)


def check_layout(policy: Any) -> None:
    """Refuses a `VW`'s namespaces and interactions when they do not go together.

    Raises:
        InvalidValue: naming the field.
    """
    letters = []
    for namespace in policy.namespaces:
        match namespace:
            case (str(letter), int(start), int() | None as stop) if _is_letter(letter) and start >= 0 and stop != 0:
                letters.append(letter)
            case _:
                raise InvalidValue(
                    f"VW.namespaces must be (letter, start, stop) with start >= 0 and stop a column or None, got {namespace!r}."
                )
    if policy.item_namespace:
        letters.append(policy.item_namespace)
    if not letters or not all(map(_is_letter, letters)) or len(set(letters)) < len(letters):
        raise InvalidValue(f"VW.namespaces and item_namespace must be different letters, one at least, got {letters}.")
    for interaction in policy.interactions:
        if not isinstance(interaction, str) or len(interaction) < 2 or not set(interaction) <= set(letters):
            raise InvalidValue(f"VW.interactions must be two or more letters among {letters} each, got {interaction!r}.")


def check_columns(policy: Any, dim: int) -> None:
    """Refuses namespaces that are not all within phi.

    Raises:
        InvalidValue: naming the first.
    """
    for namespace in policy.namespaces:
        _, start, stop = namespace
        if not range(dim)[start:stop] or (stop or 0) > dim:
            raise InvalidValue(f"VW.namespaces must be slices of phi's {dim} columns, got {namespace!r}.")


def _is_letter(letter: str) -> bool:
    return len(letter) == 1 and letter.isascii() and letter.isalpha()
