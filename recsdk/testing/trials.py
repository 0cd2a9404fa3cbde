"""The conformance kit run on what a distribution has installed, for `python -m recsdk.testing`."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from typing import Any, NamedTuple

import attrs

from recsdk import plugins
from recsdk.checks import integer, number
from recsdk.errors import PluginLoadError, RecsdkError, UnknownPlugin, nearest
from recsdk.plugins import Plugin
from recsdk.testing.encoders import ENCODER_CHECKS
from recsdk.testing.parametrization import bound, checked_reasons, law_of
from recsdk.testing.policies import POLICY_CHECKS
from recsdk.testing.retrievers import RETRIEVER_CHECKS
from recsdk.testing.scorers import SCORER_CHECKS
from recsdk.testing.states import TOLERANCE
from recsdk.testing.world import NUM_ROUNDS

CHECKS: Mapping[str, tuple[Callable[..., None], ...]] = {
    "policies": POLICY_CHECKS,
    "scorers": SCORER_CHECKS,
    "encoders": ENCODER_CHECKS,
    "retrievers": RETRIEVER_CHECKS,
}
GROUP = "recsdk.testing"


@attrs.frozen(kw_only=True)
class Trial:
    """How a plugin is to be tried from the command line, declared by its author.

    A distribution names a mapping of these, by the plugin's name, in the entry-point group `recsdk.testing`:

        [project.entry-points."recsdk.testing"]
        trials = "acme_bandits.trials:TRIALS"

    A plugin that is not in it is constructed with its defaults and held to every law.

    Attributes:
        hyperparameters: to construct it with, where the defaults will not do for the kit's rewards in [-2, 2].
        skip: law -> reason why it does not hold, as for `parametrize`.
        tolerance, num_rounds, regret: as for `parametrize`.

    Example:
        >>> from recsdk import testing
        >>> TRIALS = {"coin": testing.Trial(skip={"learns": "a coin learns nothing"})}
    """

    hyperparameters: Mapping[str, Any] = attrs.field(factory=dict)
    skip: Mapping[str, str] = attrs.field(factory=dict)
    tolerance: float = attrs.field(default=TOLERANCE, validator=number(at_least=0))
    num_rounds: int = attrs.field(default=NUM_ROUNDS, validator=integer(at_least=1))
    regret: float | None = attrs.field(default=None, validator=attrs.validators.optional(number(above=0)))


class Finding(NamedTuple):
    """The outcome of one law.

    Attributes:
        kind: kind of the plugin.
        name: name of the plugin.
        law: such as "draws"; "construction" where the plugin cannot even be made.
        outcome: "pass", "skip" or "fail".
        reason: why it was skipped or failed; else empty.
    """

    kind: str
    name: str
    law: str
    outcome: str
    reason: str = ""


def plugins_of(distribution: str) -> list[Plugin]:
    """Returns the policies, scorers, encoders and retrievers of a distribution.

    Raises:
        UnknownPlugin: when it has none, or is not installed.
    """
    known = [plugin for plugin in plugins.listing().plugins if plugin.kind in CHECKS]
    own = [plugin for plugin in known if _normalised(plugin.distribution) == _normalised(distribution)]
    if not own:
        names = sorted({plugin.distribution for plugin in known})
        raise UnknownPlugin(
            f"No installed distribution with policies, scorers, encoders or retrievers is named {distribution!r}."
            f"{nearest(distribution, names)} Installed: {names}."
        )
    return own


def trials_of(distribution: str, names: list[str]) -> dict[str, Trial]:
    """Returns what the distribution declares in the group `recsdk.testing`, by the plugin's name.

    Raises:
        PluginLoadError: when that cannot be imported, or is not a mapping from the distribution's plugins to `Trial`.
    """
    declared: dict[str, Trial] = {}
    # The first of that name on the path, as `recsdk.plugins` takes it.
    installed = next(found for found in metadata.distributions() if found.name == distribution)
    for entry in installed.entry_points.select(group=GROUP):
        try:
            found = entry.load()
        except Exception as cause:  # a plugin's code may raise anything
            raise PluginLoadError(f"{entry.value!r} of {distribution} raises {type(cause).__name__} when imported: {cause}") from cause
        if not isinstance(found, Mapping) or not all(name in names and isinstance(trial, Trial) for name, trial in found.items()):
            raise PluginLoadError(f"{entry.value!r} of {distribution} must map its plugins, of {names}, to Trial, got {found!r}.")
        declared |= found
    return declared


def num_laws(found: list[Plugin]) -> int:
    """Returns how many findings `examine` yields for plugins that can be constructed."""
    return sum(len(CHECKS[plugin.kind]) for plugin in found)


def examine(plugin: Plugin, trial: Trial) -> Iterator[Finding]:
    """Constructs a plugin and holds it to the laws of its kind, one after the other."""
    where = plugin.kind, plugin.name
    checked_reasons(trial.skip, CHECKS[plugin.kind])
    options = {"tolerance": trial.tolerance, "num_rounds": trial.num_rounds, "regret": trial.regret}
    try:
        component = plugins.build(plugin, **trial.hyperparameters)
    except (RecsdkError, ValueError, TypeError) as error:
        yield Finding(*where, "construction", "fail", _told(error))
        return
    for check in CHECKS[plugin.kind]:
        law = law_of(check)
        outcome, reason = ("skip", trial.skip[law]) if law in trial.skip else _tried(bound(check, options), component)
        yield Finding(*where, law, outcome, reason)


def _tried(check: Callable[..., None], component: Any) -> tuple[str, str]:
    try:
        check(component)
    except unittest.SkipTest as reason:
        return "skip", str(reason)
    except AssertionError as failure:
        return "fail", str(failure)
    except Exception as error:  # a plugin's code may raise anything
        return "fail", _told(error)
    return "pass", ""


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, RecsdkError) else f"{type(error).__name__}: {error}"


def _normalised(distribution: str) -> str:
    return distribution.replace("_", "-").replace(".", "-").lower()
