"""`recsdk evaluate`: what would another policy have earned, and may we believe it?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from recsdk.cli.answers import as_dict, plain, printed
from recsdk.cli.logs import Log, is_folder, names_of, read
from recsdk.cli.output import JsonFlag, notes, print_json, print_notes, results
from recsdk.cli.sweep import _parsed, _policies
from recsdk.drivers.replay import LearnFrom, replay
from recsdk.errors import InvalidValue, Unknown, UnknownPlugin, nearest
from recsdk.ope.comparison import evaluate_all
from recsdk.ope.evaluation import Target
from recsdk.ope.intervals.validity import Logger
from recsdk.ope.options import LOGGER, Options
from recsdk.plugins import find

NONE_ANSWERED = 3


def evaluate(
    log: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    target: Annotated[list[str] | None, Parameter(negative=())] = None,
    set: Annotated[list[str] | None, Parameter(negative=())] = None,
    learn_from: LearnFrom | None = None,
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
    window: float | None = None,
    columns: str | None = None,
    position: int = 0,
    max_bad: int = 0,
    draws: int = 1000,
    seed: int = 0,
    force: Annotated[bool, Parameter(negative=())] = False,
    json: JsonFlag = False,
    html: Path | None = None,
) -> int:
    """Estimate from a log what other policies would have earned, and say how far to believe it.

    Exits with 3 when the log can answer for none of the targets.

    Args:
        log: A recommender's folder, or a file: .jsonl, .csv, .parquet or .dsjson, all but Parquet also with .gz; or several tables, the
            oldest first.
        target: What to evaluate: an installed policy's name, a recommender's folder, or a column of the log with the probability of the
            logged action, or those of all candidates. Needed; may be given several times.
        set: A hyper-parameter and its values, as alpha=0.1,0.3,1, for each policy that has it; may be given several times.
        learn_from: What of the log the policies learn from; by default all, but none for the policy of a folder, which has learned before.
        policy: The policy passed to Recommender.open for a target folder; by default wide-deep.
        floor: The floor passed to Recommender.open for a target folder.
        estimator: ips, snips, dm, dr, sndr or matched; may be given several times. By default ips, snips, and dr where it can be had.
        interval: delta, bootstrap or moving_block; or of ips alone empirical_likelihood, empirical_bernstein, clopper_pearson,
            confidence_sequence or drifting_sequence. Dashes will do for underscores.
        level: Nominal coverage of the intervals.
        reward_range: The least and the greatest reward possible, as 0 1.
        max_weight: The largest importance weight that the policies allow.
        against: The target that the others are compared with; by default the policy that wrote the log.
        logger: Whether the logging policy learned from this log; by default that of a recommender's folder did, and others did not.
        default_reward: What a decision is worth of which nothing was heard.
        window: Seconds that a reward may take, for a recommender's folder: younger decisions are left out; 0 leaves out none.
        columns: Which columns of a table are action, reward, propensity, weight and id, as reward=visit,propensity=0.5; a number holds for
            every row. By default those with these names.
        position: The position on a page that is evaluated, from 0 at the top, of a recommender's folder or decision-service log.
        max_bad: Lines of a decision-service log that may be unreadable; they are left out and counted.
        draws: Resampled logs for the bootstrap and the comparison.
        seed: Of all draws.
        force: Print values that are refused, too.
        json: Print the results as JSON.
        html: Write a report with pictures to this file.
    """
    if html is not None:
        from recsdk.ope.report.page import require_charts

        require_charts()
    target = _targets(log, target or [])
    named = _columns(log, target)
    console = notes()
    bars = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*bars, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Reading the log")
        source = read(log, list(named), columns=columns, position=position, default_reward=default_reward, window=window, max_bad=max_bad)
        progress.update(task, description="Replaying policies")
        targets = _policy_targets(source, target, set or [], named, learn_from, seed)
        targets |= {name: _folder_target(source, log, name, policy, floor, learn_from, seed) for name in target if is_folder(name)}
        targets |= {name: Target(source.columns[name], caveat=source.caveat) for name in named}
        progress.update(task, description="Evaluating")
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
            position=position,
            num_draws=draws,
            seed=seed,
            force=force,
        )
        found = evaluate_all(source.interactions, targets, options, ids=source.ids)
    said = [*source.notes, *_told_apart(source, policies=len(named) < len(target))]
    print_notes(said)
    if html is not None:
        from recsdk.ope.report.page import page

        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(page(found, title=" + ".join(path.name for path in log)), encoding="utf-8")
    if json:
        print_json(plain({**as_dict(found), "notes": said, "html": None if html is None else str(html)}))
    else:
        results().print(*printed(found), *(() if html is None else (Text(f"Report: {html}"),)), sep="\n")
    return 0 if any(each.estimates for each in found.targets.values()) else NONE_ANSWERED


def _targets(log: list[Path], targets: list[str]) -> list[str]:
    """Returns the targets; says how to name one where there is none.

    Raises:
        InvalidValue: no target.
        Unknown: no log of a name.
    """
    if targets:
        return targets
    logs = [str(path) for path in log if path.exists()]
    others = [str(path) for path in log if not path.exists()]
    if not logs:
        raise Unknown(f"No file and no recommender's folder is named {others[0]!r}.")
    if others:
        meant = " ".join(["recsdk evaluate", *logs, *(f"--target {name}" for name in others)])
        raise InvalidValue(f"No file and no folder is named {others[0]!r}. A target is named by --target: {meant}")
    there = f": {sorted(names_of(log))}" if names_of(log) else ""
    raise InvalidValue(
        f"--target must name what to evaluate, got none. Example: recsdk evaluate {' '.join(logs)} --target lin-ucb. A target is a policy "
        f"that `recsdk plugins` lists, a recommender's folder, or a column of a table{there}."
    )


def _columns(log: list[Path], targets: list[str]) -> dict[str, None]:
    """Returns the targets that are columns of the log: those that are neither a folder nor a policy."""
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
                columns_there = f" Columns: {sorted(there)}." if there else ""
                raise Unknown(
                    f"No {'column of the log, no ' if there else ''}folder and no policy is named {name!r}.{nearest(name, there)}"
                    f"{columns_there} {error}"
                ) from error
            columns[name] = None
    return columns


def _told_apart(source: Log, *, policies: bool) -> list[str]:
    """Returns a note where policies cannot tell one candidate from another."""
    features, mask = source.interactions.context.features, source.interactions.context.mask[:, :, None]
    if not policies or (features.min(1, initial=np.inf, where=mask) < features.max(1, initial=-np.inf, where=mask)).any():
        return []
    return ["In each round all candidates have the same features, so policies that choose by features choose at random on this log."]


def _policy_targets(
    source: Log, targets: list[str], settings: list[str], columns: dict[str, None], learn_from: LearnFrom | None, seed: int
) -> dict[str, Target]:
    names = [name for name in targets if name not in columns and not is_folder(name)]
    folders = [name for name in targets if is_folder(name)]
    if not (names or folders) and (settings or learn_from is not None):
        raise InvalidValue("set and learn_from are for targets that are policies, got columns alone.")
    grid = dict(map(_parsed, settings))
    policies = _policies(names, grid) if names else []
    labels = [repr(policy) for policy in policies] if grid else names
    return {label: _replayed(source, policy, None, learn_from or "all", seed) for label, policy in zip(labels, policies, strict=True)}


def _replayed(source: Log, policy: Any, state: Any, learn_from: LearnFrom, seed: int, caveat: str = "") -> Target:
    played = replay(policy, source.interactions, learn_from=learn_from, state=state, seed=seed)
    return Target(np.asarray(played.decision.probs), np.asarray(played.matched), caveat="; ".join(filter(None, (caveat, source.caveat))))


def _folder_target(
    source: Log, log: list[Path], name: str, policy: str | None, floor: float, learn_from: LearnFrom | None, seed: int
) -> Target:
    from recsdk.live.log import read_policy

    learned = read_policy(name, floor=floor) if policy is None else read_policy(name, policy, floor=floor)
    own = any(path.resolve() == Path(name).resolve() for path in log)
    caveat = "target has learned from these very rounds, and looks better on them than it is: evaluate it on rounds that came later"
    return _replayed(source, learned.policy, learned.state, learn_from or "none", seed, caveat if own else "")
