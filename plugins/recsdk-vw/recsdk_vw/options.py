"""The options of Vowpal Wabbit that a user may add to a policy: an allow-list.

Every option of Vowpal Wabbit 9.11.9 that is not listed here is refused by name. Many write or read files, change the exploration, turn the
learner into another problem, wait for input, or do nothing in a policy that is fed from Python; a newer Vowpal Wabbit may add more.
What is listed was tested: it changes what is learned, predicting leaves the state as it is, and snapshots stay exact.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from recsdk.errors import InvalidValue, nearest

DEFAULT_LEARNING_RATE = 0.5
LEARNERS = ("coin", "ftrl")
"""Switches to another learner than gradient descent."""


class Option(NamedTuple):
    """An option that may be added.

    Attributes:
        takes: what its value is; "letters" are those of namespaces.
        learners: the learners it has an effect on; "gradient descent" is the one without a switch.
    """

    takes: Literal["nothing", "number", "letters", "text"]
    learners: tuple[str, ...] = ("gradient descent", *LEARNERS)


GRADIENT = ("gradient descent",)

ALLOWED: Mapping[str, Option] = {
    "coin": Option("nothing"),
    "ftrl": Option("nothing"),
    "ftrl_alpha": Option("number", LEARNERS),
    "ftrl_beta": Option("number", LEARNERS),
    "power_t": Option("number", GRADIENT),
    "initial_t": Option("number", GRADIENT),
    "initial_weight": Option("number", GRADIENT),
    "adaptive": Option("nothing", GRADIENT),
    "adax": Option("nothing", GRADIENT),
    "invariant": Option("nothing", GRADIENT),
    "normalized": Option("nothing", GRADIENT),
    "sgd": Option("nothing", GRADIENT),
    "l1": Option("number", ("gradient descent", "ftrl")),
    "l2": Option("number", ("gradient descent", "ftrl")),
    "clip_p": Option("number"),
    "hash": Option("text"),
    "noconstant": Option("nothing"),
    "quadratic": Option("letters"),
    "cubic": Option("letters"),
    "interactions": Option("letters"),
    "ngram": Option("text"),
    "ignore": Option("letters"),
    "ignore_linear": Option("letters"),
}

SHORT = {
    "-a": "audit",
    "-b": "bit_precision",
    "-c": "cache",
    "-C": "constant",
    "-d": "data",
    "-f": "final_regressor",
    "-h": "help",
    "-i": "initial_regressor",
    "-k": "kill_cache",
    "-l": "learning_rate",
    "-p": "predictions",
    "-P": "progress",
    "-q": "quadratic",
    "-r": "raw_predictions",
    "-t": "testonly",
}


def split(policy: Any) -> tuple[str, ...]:
    """Splits a `VW`'s further options as a shell would.

    Returns:
        The words.

    Raises:
        InvalidValue: for an option that is not in `ALLOWED`, lacks its value or has one too many, or that does nothing beside the others.
    """
    try:
        words = shlex.split(policy.options)
    except ValueError as error:
        raise InvalidValue(f"VW.options must be words as on a command line, got {policy.options!r}: {error}.") from error
    given = list(_options(words, policy.options))
    refused = sorted({name for name, _ in given if name not in ALLOWED})
    if refused:
        close = nearest(refused[0], ALLOWED)
        raise InvalidValue(f"VW.options must not set {refused}, got {policy.options!r}.{close} It takes {sorted(ALLOWED)}.")
    for name, value in given:
        _check_value(name, value, policy)
    _check_together({name for name, _ in given}, policy)
    return tuple(words)


def _options(words: list[str], options: str) -> Iterator[tuple[str, str | None]]:
    """Yields the options by their long names, each with its value: what follows it, unless it is known to take none."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word.startswith("--"):
            name, is_joined, value = word[2:].partition("=")
        elif word[:2] in SHORT:
            name, value = SHORT[word[:2]], word[2:]
            is_joined = value
        else:  # Vowpal Wabbit would take it for the name of a file to learn from
            raise InvalidValue(f"VW.options must be options and their values, got {word!r} in {options!r}.")
        if is_joined:
            yield name, value
        elif name in ALLOWED and ALLOWED[name].takes == "nothing":
            yield name, None
        else:
            is_value = bool(rest) and (name in ALLOWED or not rest[0].startswith("-"))
            yield name, rest.pop(0) if is_value else None


def _check_value(name: str, value: str | None, policy: Any) -> None:
    match ALLOWED[name].takes:
        case "nothing":
            good, wanted = value is None, "no value"
        case "number":
            good, wanted = _is_finite(value), "a finite number"
        case "text":
            good, wanted = bool(value), "a value"
        case "letters":
            letters = {letter for letter, *_ in policy.namespaces} | set(policy.item_namespace)
            good, wanted = bool(value) and set(value or "") <= letters | {":"}, f"letters among {sorted(letters)}, or ':' for any"
    if not good:
        raise InvalidValue(f"VW.options must give --{name} {wanted}, got {value!r} in {policy.options!r}.")


def _is_finite(text: str | None) -> bool:
    try:
        return math.isfinite(float(text or "nan"))
    except ValueError:
        return False


def _check_together(names: set[str], policy: Any) -> None:
    options = policy.options
    learner = next((name for name in LEARNERS if name in names), "gradient descent")
    if learner != "gradient descent" and policy.exploration == "regcb":
        raise InvalidValue(
            f"VW.options must not have --coin or --ftrl with regcb, whose intervals are of gradient descent, got {options!r}."
        )
    if learner != "gradient descent" and policy.learning_rate != DEFAULT_LEARNING_RATE:
        raise InvalidValue(f"VW.learning_rate does nothing beside --coin and --ftrl, which have --ftrl_alpha, got {policy.learning_rate}.")
    idle = sorted(name for name in names if learner not in ALLOWED[name].learners)
    if idle:
        raise InvalidValue(f"VW.options must not set {idle} with {learner}, where it does nothing, got {options!r}.")
    if "clip_p" in names and policy.exploration in ("squarecb", "regcb"):
        raise InvalidValue(f"VW.options must not set ['clip_p'] with {policy.exploration}, which learns without importance weights.")
    if names & {"sgd", "invariant", "normalized"} and "adaptive" not in names:
        # Else what a saved and loaded model learns depends on how many examples it predicted.
        raise InvalidValue(f"VW.options must have --adaptive beside --sgd, --invariant or --normalized, got {options!r}.")
