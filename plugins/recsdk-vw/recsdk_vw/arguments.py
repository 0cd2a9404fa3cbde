"""The arguments of each exploration, as words of Vowpal Wabbit's command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from recsdk.errors import InvalidValue
from recsdk_vw import options as further


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


def command_line(policy: Any) -> tuple[str, ...]:
    """Returns Vowpal Wabbit's arguments for a validated `VW`, but for the random seed, which a saved model brings along."""
    words = ["--cb_explore_adf", "--dsjson", "--quiet", *EXPLORATIONS[policy.exploration].switch]
    values = {_flag(policy.exploration, name): getattr(policy, name) for name in EXPLORATIONS[policy.exploration].defaults}
    values |= {"--cb_type": policy.cb_type, "--learning_rate": policy.learning_rate, "--bit_precision": policy.bits}
    if policy.exploration in ("squarecb", "regcb"):
        values |= {"--cb_min_cost": -policy.max_reward, "--cb_max_cost": -policy.min_reward}
    words += [word for flag, value in values.items() if value is not None for word in (flag, str(value))]
    words += [word for letters in policy.interactions for word in ("--interactions", letters)]
    return (*words, *further.split(policy))


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
