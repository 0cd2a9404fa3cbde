"""The law that bad input is refused by a typed error, and leaves no trace."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from recsdk import base
from recsdk.base import Interaction, Policy
from recsdk.drivers import replay
from recsdk.errors import InvalidContext, InvalidLog, InvalidPropensity, InvalidReward, InvalidValue
from recsdk.testing import inputs, states
from recsdk.testing.inputs import DIM
from recsdk.testing.states import name, on_numpy

BAD_ROW = 7


def check_refusal(policy: Policy[Any]) -> None:
    """`learn` and `replay` refuse a bad round by a typed error, and the state stays as it was."""
    policy = on_numpy(policy)
    log = inputs.log(20, 5, DIM)
    state = states.learned(policy, log)
    before = states.loads(policy, DIM, states.dumps(policy, state))
    good = inputs.at(log, 3)
    for what, bad, wanted in _bad_rounds(good):
        _assert_refused(f"learn with {what}", wanted, policy, base.learn, policy, state, bad)
    for what, bad_log in _bad_logs(log):
        walk = functools.partial(replay.replay, state=state, engine="numpy")
        refusal = _assert_refused(f"replay with {what}", InvalidLog, policy, walk, policy, bad_log)
        assert f"row {BAD_ROW} " in refusal, f"refusal: {name(policy)}: replay with {what} must name row {BAD_ROW}, got {refusal!r}"
    difference = states.difference(policy, state, before, DIM)
    assert not difference, f"refusal: {name(policy)}: a refused round must leave the state as it was, but {difference}"
    states.close(policy, state, before)


def _assert_refused(what: str, wanted: type[Exception], policy: Policy[Any], call: Callable[..., Any], *arguments: Any) -> str:
    try:
        call(*arguments)
    except wanted as error:
        return str(error)
    except Exception as error:
        raise AssertionError(f"refusal: {name(policy)}: {what} must raise {wanted.__name__}, got {error!r}") from error
    raise AssertionError(f"refusal: {name(policy)}: {what} must raise {wanted.__name__}, but it was accepted")


def _bad_rounds(good: Interaction) -> list[tuple[str, Interaction, type[Exception]]]:
    context = good.context
    features = context.features.copy()
    features[good.action, 0] = np.nan
    padding = context._replace(mask=np.arange(len(context.mask)) != good.action)
    contexts = {
        "NaN among the chosen candidate's features": context._replace(features=features),
        "features in float32": context._replace(features=context.features.astype(np.float32)),
        "features of one candidate too few": context._replace(features=context.features[:-1]),
        "features without candidates' axis": context._replace(features=context.features[0]),
        "a mask of integers": context._replace(mask=context.mask.astype(np.int64)),
        "items of another number": context._replace(item=context.item[:-1]),
        "an action on padding": padding,
    }
    return [
        *((f"reward {value}", good._replace(reward=np.float64(value)), InvalidReward) for value in (np.nan, np.inf, -np.inf)),
        *((f"propensity {value}", good._replace(propensity=np.float64(value)), InvalidPropensity) for value in (0, -0.1, 1.1, np.nan)),
        *((f"weight {value}", good._replace(weight=np.float64(value)), InvalidValue) for value in (-1, np.inf, np.nan)),
        *((f"action {value}", good._replace(action=np.int64(value)), InvalidContext) for value in (-1, len(context.mask))),
        *((what, good._replace(context=bad), InvalidContext) for what, bad in contexts.items()),
    ]


def _bad_logs(log: Interaction) -> list[tuple[str, Interaction]]:
    values = {"reward": (np.nan, np.inf), "propensity": (0.0, 1.1, np.nan), "weight": (-1.0, np.nan), "action": (-1, 5)}
    logs = []
    for field, bad in values.items():
        for value in bad:
            column = getattr(log, field).copy()
            column[BAD_ROW] = value
            logs.append((f"{field} {value} in a row", log._replace(**{field: column})))
    mask = log.context.mask.copy()
    mask[BAD_ROW, log.action[BAD_ROW]] = False
    return [*logs, ("an action on padding in a row", log._replace(context=log.context._replace(mask=mask)))]
