"""`recsdk evaluate`: what would another policy have earned, and may we believe it?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from recsdk.cli.logs import Log, is_folder, names_of, read
from recsdk.cli.output import JsonFlag, print_json, results
from recsdk.cli.sweep import _parsed, _policies
from recsdk.drivers.replay import LearnFrom, replay
from recsdk.errors import InvalidValue, Unknown, UnknownPlugin, nearest
from recsdk.ope.answers import Answer, Answers, Target, answer
from recsdk.ope.intervals.asked import name_of
from recsdk.ope.intervals.validity import Logger
from recsdk.ope.options import LOGGER, Options
from recsdk.ope.report import STYLES
from recsdk.ope.terms import Estimate
from recsdk.plugins import find

NONE_ANSWERED = 3


def evaluate(
    log: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    target: Annotated[list[str], Parameter(negative=())],
    set: Annotated[list[str] | None, Parameter(negative=())] = None,
    learn_from: LearnFrom = "none",
    policy: str | None = None,
    floor: float = 0.05,
    estimator: Annotated[list[str] | None, Parameter(negative=())] = None,
    interval: str = "delta",
    level: float = 0.95,
    reward_range: Annotated[tuple[float, float] | None, Parameter(negative=())] = None,
    max_weight: float | None = None,
    against: str = LOGGER,
    logger: Logger | None = None,
    default_reward: float | None = None,
    position: int = 0,
    draws: int = 1000,
    seed: int = 0,
    force: Annotated[bool, Parameter(negative=())] = False,
    json: JsonFlag = False,
    html: Path | None = None,
) -> int:
    """Estimate from a log what other policies would have earned, and say how far to believe it.

    Exits with 3 when the log can answer for none of the targets.

    Args:
        log: A recommender's folder, or a file: .jsonl, .jsonl.gz, .parquet or .dsjson; or several .jsonl or .parquet, the oldest first.
        target: An installed policy's name, a recommender's folder, or a column of the log with the probability of the logged action, or
            those of all candidates; may be given several times.
        set: A hyper-parameter and its values, as alpha=0.1,0.3,1, for each policy that has it; may be given several times.
        learn_from: What of the log the policies learn from.
        policy: What the recommender of a target folder was opened with; by default what it is opened with by default.
        floor: What the recommender of a target folder was opened with.
        estimator: ips, snips, dm, dr, sndr or matched; may be given several times. By default ips, snips, and dr where it can be had.
        interval: delta, bootstrap or moving-block; or of ips alone empirical-likelihood, empirical-bernstein, clopper-pearson,
            confidence-sequence or drifting-sequence.
        level: Nominal coverage of the intervals.
        reward_range: The least and the greatest reward possible, as 0 1.
        max_weight: The largest importance weight that the policies allow.
        against: The target that the others are compared with; by default the policy that wrote the log.
        logger: Whether the logging policy learnt from this log; by default that of a recommender's folder did, and others did not.
        default_reward: What a decision is worth of which nothing was heard.
        position: Of the slates in a recommender's folder, from 0.
        draws: Resampled logs for the bootstrap and the comparison.
        seed: Of all draws.
        force: Print values that are refused, too.
        json: Print the results as JSON.
        html: Write a page with pictures to this file.
    """
    if html is not None:
        from recsdk.ope.report.page import require_charts

        require_charts()
    columns = _columns(log, target)
    source = read(log, list(columns), position=position, default_reward=default_reward)
    targets = _policy_targets(source, target, set or [], columns, learn_from, seed)
    targets |= {name: _folder_target(source, log, name, policy, floor, learn_from, seed) for name in target if is_folder(name)}
    targets |= {name: Target(source.columns[name]) for name in columns}
    options = Options(
        estimators=None if estimator is None else tuple(estimator),
        interval=interval.replace("-", "_"),
        level=level,
        reward_range=reward_range,
        max_weight=max_weight,
        against=against,
        logger=logger or source.logger,
        default_reward=default_reward or 0.0,
        num_decisions=source.num_decisions,
        num_draws=draws,
        seed=seed,
        force=force,
    )
    found = answer(source.interactions, targets, options, ids=source.ids)
    if html is not None:
        from recsdk.ope.report.page import page

        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(page(found, title=" + ".join(path.name for path in log)), encoding="utf-8")
    if json:
        print_json(_plain({**as_dict(found), "html": None if html is None else str(html)}))
    else:
        results().print(*_printed(found), *(() if html is None else (Text(f"Report: {html}"),)), sep="\n")
    return 0 if any(each.estimates for each in found.targets.values()) else NONE_ANSWERED


def _columns(log: list[Path], targets: list[str]) -> dict[str, None]:
    """Returns the targets that are columns of the log: what is neither a folder nor a policy."""
    again = [name for name in targets if targets.count(name) > 1]
    if again:
        raise InvalidValue(f"target must be given once each, got {again[0]!r} {len(again)} times.")
    there = names_of(log)
    columns: dict[str, None] = {}
    for name in targets:
        if is_folder(name):
            continue
        try:
            find("policies", name)
        except UnknownPlugin as error:
            if name not in there:
                raise Unknown(
                    f"No column of the log, no folder and no policy is named {name!r}.{nearest(name, there)} "
                    f"Columns: {sorted(there)}. {error}"
                ) from error
            columns[name] = None
    return columns


def _policy_targets(
    source: Log, targets: list[str], settings: list[str], columns: dict[str, None], learn_from: LearnFrom, seed: int
) -> dict[str, Target]:
    names = [name for name in targets if name not in columns and not is_folder(name)]
    folders = [name for name in targets if is_folder(name)]
    if not (names or folders) and (settings or learn_from != "none"):
        raise InvalidValue("set and learn_from are for targets that are policies, got columns alone.")
    grid = dict(map(_parsed, settings))
    policies = _policies(names, grid) if names else []
    labels = [repr(policy) for policy in policies] if grid else names
    return {label: _replayed(source, policy, None, learn_from, seed) for label, policy in zip(labels, policies, strict=True)}


def _replayed(source: Log, policy: Any, state: Any, learn_from: LearnFrom, seed: int, caveat: str = "") -> Target:
    played = replay(policy, source.interactions, learn_from=learn_from, state=state, seed=seed)
    return Target(np.asarray(played.decision.probs), np.asarray(played.matched), caveat)


def _folder_target(source: Log, log: list[Path], name: str, policy: str | None, floor: float, learn_from: LearnFrom, seed: int) -> Target:
    from recsdk.live.log import read_policy

    learned = read_policy(name, floor=floor) if policy is None else read_policy(name, policy, floor=floor)
    own = any(path.resolve() == Path(name).resolve() for path in log)
    caveat = "target has learned from these very rounds, and looks better on them than it is: evaluate it on rounds that came later"
    return _replayed(source, learned.policy, learned.state, learn_from, seed, caveat if own else "")


def as_dict(found: Answers) -> dict[str, Any]:
    """Returns all that is said, as plain values."""
    return {
        "interval": name_of(found.options),
        "against": found.options.against,
        "logged": found.logged._asdict(),
        "targets": [
            {
                "target": name,
                "verdict": each.verdict,
                "reasons": list(each.reasons),
                "notes": list(each.notes),
                "estimates": {estimator: estimate._asdict() for estimator, estimate in each.estimates.items()},
                "differences": {
                    estimator: {**compared.difference._asdict(), "p_value": compared.p_value, "adjusted_p_value": compared.adjusted}
                    for estimator, compared in each.differences.items()
                },
                "diagnostics": each.diagnostics._asdict(),
                "clipped": [clipped._asdict() for clipped in each.clipped],
            }
            for name, each in found.targets.items()
        ],
    }


def _plain(value: Any) -> Any:
    """Replaces what JSON has no number for by null."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _printed(found: Answers) -> list[Any]:
    against = found.options.against
    table = Table("target", title="Reward per round", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.columns[0].overflow = "fold"
    for column in ("estimator", "value", f"{100 * found.options.level:g} % interval", "effective size", "verdict", f"minus {against}"):
        table.add_column(Text(column), justify="left" if column in ("estimator", "verdict") else "right", overflow="fold")
    num_rounds = len(next(iter(found.targets.values())).rounds.action)
    table.add_row(LOGGER, "mean", *_value(found.logged), f"{num_rounds:,}", end_section=True)
    for name, each in found.targets.items():
        for row, cells in enumerate(_rows(each)):
            table.add_row(Text(name if row == 0 else ""), *cells, end_section=row == max(len(each.estimates) - 1, 0))
    notes = [
        Text.assemble(f"{name}: ", (each.verdict, STYLES[each.verdict]), *(f"\n  - {reason}" for reason in each.reasons))
        for name, each in found.targets.items()
        if each.reasons
    ]
    return [table, *notes]


def _rows(found: Answer) -> list[list[Any]]:
    head = [f"{found.diagnostics.effective_size:,.0f}", Text(found.verdict, STYLES[found.verdict])]
    if not found.estimates:
        return [["-", "withheld", "", *head, ""]]
    rows = []
    for row, (name, estimate) in enumerate(found.estimates.items()):
        compared = found.differences.get(name)
        less = "" if compared is None else "{:+.2g} ({:+.2g} .. {:+.2g})".format(*_middle(compared.difference))
        rows.append([name, *_value(estimate), *(head if row == 0 else ["", ""]), less])
    return rows


def _value(estimate: Estimate) -> tuple[str, str]:
    return f"{estimate.value:.4g}", f"{estimate.low:.3g} .. {estimate.high:.3g}"


def _middle(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high
