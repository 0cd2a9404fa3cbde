"""`recsdk status`: how a recommender does, once or all the time."""

from __future__ import annotations

import math
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Group
from rich.live import Live
from rich.text import Text

from recsdk.checks import require_number
from recsdk.cli.facts import facts_table
from recsdk.cli.output import JsonFlag, print_json, results
from recsdk.errors import InvalidValue
from recsdk.ledger.stores import store
from recsdk.live import alarms
from recsdk.live.health import health


def status(
    folder: Path,
    /,
    *,
    json: JsonFlag = False,
    watch: float | None = None,
    min_join_rate: float = 0.01,
    recompute: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Show how a recommender does: feedback, rewards, exploration, and alarms. The recommender may be open.

    Exit code 1 when an alarm is on.

    Args:
        folder: The recommender's folder.
        json: Print the results as JSON.
        watch: Look again every so many seconds, until Ctrl-C.
        min_join_rate: Share of decisions with an answer below which the alarm is on.
        recompute: Also make 1 % of the decisions again, which must come out as they were; learns the whole log for that.
    """
    require_number("min_join_rate", min_join_rate, at_least=0, at_most=1)
    if watch is None:
        facts = _facts(folder, min_join_rate)
        if recompute:
            from recsdk.live.skew import recompute as again

            found = again(folder)
            facts["recomputed"] = {"same": found.num_same, "different": len(found.different), "left_out": found.num_left_out}
            facts["alarms"] = [*facts.pop("alarms"), *alarms.of_skew(found.num_same, found.different)]
        if json:
            print_json(facts)
        else:
            results().print(_shown(facts))
        sys.exit(int(bool(facts["alarms"])))
    require_number("watch", watch, above=0)
    if json or recompute:
        raise InvalidValue(f"watch must be left out with --json and with --recompute, got {watch}.")
    with suppress(KeyboardInterrupt), Live(_shown(_facts(folder, min_join_rate)), console=results(), auto_refresh=False) as live:
        while True:
            time.sleep(watch)
            live.update(_shown(_facts(folder, min_join_rate)), refresh=True)


def _facts(folder: Path, min_join_rate: float) -> dict[str, Any]:
    with closing(store(folder).read(folder)) as reading:
        facts = health(reading, min_join_rate=min_join_rate)._asdict()
    traffic, told = facts.pop("traffic"), list(facts.pop("alarms"))
    if traffic.num_again or any(arm.arm != "policy" for arm in traffic.arms):
        for arm in traffic.arms:
            facts[f"arm_{arm.arm}"] = {"decisions": arm.num_decisions, "mean_reward": _known(arm.mean_reward)}
        facts |= {"served_again": traffic.num_again, "ratio_p_value": traffic.ratio_p_value, "agreement": _known(traffic.agreement)}
    return facts | {"alarms": told}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _shown(facts: dict[str, Any]) -> Group:
    told = [Text(f"ALARM {alarm}.", style="bold red") for alarm in facts["alarms"]]
    table = facts_table({name: value for name, value in facts.items() if name != "alarms"}, "Status")
    return Group(table, *(told or [Text("No alarm is on.", style="green")]))
