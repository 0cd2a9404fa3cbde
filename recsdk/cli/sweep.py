"""`recsdk sweep`: which policy, and with which settings?"""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from recsdk import environments, plugins
from recsdk.checks import require_integer
from recsdk.cli.logs import Log, is_folder, read
from recsdk.cli.output import JsonFlag, print_json, print_notes, results
from recsdk.drivers.loop import Engine
from recsdk.drivers.replay import LearnFrom
from recsdk.drivers.sweep import sweep as run
from recsdk.errors import InvalidValue, Unknown, nearest

WORLDS = {
    "changing": environments.ChangingWorld,
    "drifting": environments.DriftingWorld,
    "heavy-tailed": environments.HeavyTailedWorld,
    "linear": environments.LinearWorld,
    "logistic": environments.LogisticWorld,
    "neural": environments.NeuralWorld,
}


def sweep(
    source: str,
    /,
    *,
    policy: Annotated[list[str], Parameter(negative=())],
    set: Annotated[list[str] | None, Parameter(negative=())] = None,
    seeds: int = 1,
    rounds: int | None = None,
    learn_from: LearnFrom = "all",
    engine: Engine = "auto",
    columns: str | None = None,
    position: int = 0,
    default_reward: float | None = None,
    window: float | None = None,
    max_bad: int = 0,
    each: Annotated[bool, Parameter(negative=())] = False,
    json: JsonFlag = False,
) -> None:
    """Try policies and settings on a log, or in a simulated world.

    Args:
        source: A log as `recsdk evaluate` reads it, or a world: changing, drifting, heavy-tailed, linear, logistic or neural.
        policy: An installed policy's name; may be given several times.
        set: A hyper-parameter and its values, as alpha=0.1,0.3,1, for each policy that has it; may be given several times.
        seeds: How many seeds, from 0 on.
        rounds: How many rounds: of a log its first (all by default), in a world 10,000 by default.
        learn_from: What of a log the policies learn from.
        engine: Where to run.
        columns: As in evaluate.
        position: As in evaluate.
        default_reward: What a decision is worth of which nothing was heard.
        window: Seconds that a reward may take, for a recommender's folder: younger decisions are left out; 0 leaves out none.
        max_bad: As in evaluate.
        each: Print a row for each seed, not the means over seeds.
        json: Print the results as JSON.
    """
    require_integer("seeds", seeds, at_least=1)
    log_or_environment: Any
    num_rounds: int | None
    if source in WORLDS:
        log_or_environment, num_rounds = WORLDS[source](), 10_000 if rounds is None else rounds
    else:
        log = _log(source, columns=columns, position=position, default_reward=default_reward, window=window, max_bad=max_bad)
        print_notes(log.notes)
        log_or_environment, num_rounds = log.interactions, rounds
    policies = _policies(policy, dict(map(_parsed, set or [])))
    table = run(policies, log_or_environment, num_rounds=num_rounds, seeds=range(seeds), learn_from=learn_from, engine=engine)
    rows = table.rows() if each or seeds == 1 else table.over_seeds()
    if json:
        print_json(rows)
    else:
        results().print(_printed(rows))


def _log(source: str, **options: Any) -> Log:
    if not Path(source).is_file() and not is_folder(source):
        raise Unknown(
            f"No file, no recommender's folder and no world is named {source!r}.{nearest(source, WORLDS)} Worlds: {list(WORLDS)}."
        )
    return read([Path(source)], **options)


def _policies(names: list[str], grid: dict[str, list[Any]]) -> list[Any]:
    """Constructs every policy with every combination of the settings that it has."""
    known: dict[str, None] = {}
    policies = []
    for name in names:
        plugin = plugins.find("policies", name)
        own = plugins.hyperparameters(plugins.resolve(plugin))
        known |= dict.fromkeys(own)
        chosen = {key: values for key, values in grid.items() if key in own}
        policies += [plugins.build(plugin, **dict(zip(chosen, values, strict=True))) for values in itertools.product(*chosen.values())]
    for key in grid:
        if key not in known:
            raise InvalidValue(f"set: none of {names} has a hyper-parameter {key!r}.{nearest(key, known)} They have: {list(known)}.")
    return policies


def _parsed(setting: str) -> tuple[str, list[Any]]:
    name, sign, values = setting.partition("=")
    if not (name and sign and all(values.split(","))):
        raise InvalidValue(f"set must be a hyper-parameter and its values, such as alpha=0.1,0.3, got {setting!r}.")
    return name.strip().replace("-", "_"), [_value(value.strip()) for value in values.split(",")]


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _printed(rows: list[dict[str, Any]]) -> Table:
    columns = [name for name in rows[0] if name != "hyperparameters" and any(row[name] is not None for row in rows)]
    table = Table(*columns)
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.justify = "right"
    best = max((row["reward"] for row in rows if row["reward"] is not None), default=None)
    for row in rows:
        cells = [f"{value:.5g}" if isinstance(value, float) else "-" if value is None else str(value) for value in map(row.get, columns)]
        table.add_row(*map(Text, cells), style="bold" if row["reward"] == best else None)
    return table
