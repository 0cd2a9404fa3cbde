"""What `recsdk train` and `recsdk rank-eval` share: what is held out, the models, the figures, and how they are printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from recsdk import plugins
from recsdk.base import Events, Items
from recsdk.cli.events import USER, moment
from recsdk.cli.output import notes
from recsdk.cli.sweep import _value
from recsdk.errors import InvalidLog, InvalidValue, Unknown, nearest
from recsdk.live import made
from recsdk.live.identity import identity, told
from recsdk.ranking import (
    Cases,
    Interval,
    ListMetrics,
    RankDifference,
    RankEvaluation,
    by_encoder,
    by_scorer,
    compare_rankings,
    leave_one_out,
    list_metrics,
    rank_evaluate,
)
from recsdk.ranking.cases import held_from

METRICS = ("ndcg", "hit_rate", "recall", "mrr", "map")
COUNTING = ("popularity", "seq-item-knn", "ease")
FEW_ITEMS = 5_000
"""Catalogue up to which `ease` is among the default counting scorers: its time grows with the cube."""
VERDICTS = {"better": "green", "worse": "red", "no difference seen": "yellow"}

Part = Literal["test", "validation"]


class Held(NamedTuple):
    """What models are fitted to and what they are measured on.

    Attributes:
        fitted: the events before what is held out.
        cases: held out.
        rule: how, in words.
    """

    fitted: Events
    cases: Cases
    rule: str


class Model(NamedTuple):
    """A fitted model.

    Attributes:
        name: as asked for.
        part: the encoder or scorer.
        state: of it.
    """

    name: str
    part: Any
    state: Any


class Found(NamedTuple):
    """Ranking quality of models, beside that of counting scorers.

    Attributes:
        models: by name, with the counting scorers.
        parts: what each is, with its settings.
        counting: names of the counting scorers.
        differences: of each model that was asked for, from each of these.
        lists: what each model's lists are like, where that was asked for.
    """

    models: Mapping[str, RankEvaluation]
    parts: Mapping[str, str]
    counting: tuple[str, ...]
    differences: Mapping[str, Mapping[str, RankDifference]]
    lists: Mapping[str, ListMetrics]


def held_out(log: Events, on: Part, test_time: str | None, validation_time: str | None) -> Held:
    """Holds out each user's last item, or all that came from a moment on.

    Raises:
        InvalidValue: times that cannot be read, or a validation time without a test time.
        InvalidLog: nothing can be held out.
    """
    last = on == "test"
    if test_time is None:
        if validation_time is not None:
            raise InvalidValue("validation_time must be given with test_time alone.")
        split, rule = leave_one_out(log, user=USER), f"each user's last item{'' if last else ' but one'}"
        return Held(split.refit, split.test, rule) if last else Held(split.train, split.validation, rule)
    end = moment("test_time", test_time)
    begin = 2 * end - float(log.time[-1]) if validation_time is None else moment("validation_time", validation_time)
    if validation_time is not None and begin >= end:
        raise InvalidValue(f"validation_time must be before test_time, {end:.16g}, got {begin:.16g}.")
    if last:
        return Held(*held_from(log, end, np.inf, user=USER), f"what came from {end:.16g} on")
    try:
        return Held(*held_from(log, begin, end, user=USER), f"what came from {begin:.16g} on and before {end:.16g}")
    except InvalidLog as error:
        if validation_time is not None:
            raise
        raise InvalidLog(f"{error} The validation begins as long before the test as that lasts; validation_time says when else.") from error


def part_named(name: str, settings: Sequence[str] = ()) -> Any:
    """Makes an encoder or a scorer by its name.

    Raises:
        Unknown: neither has the name.
        InvalidValue: a setting that cannot be read, or that the part does not have or refuses.
    """
    kinds = [kind for kind in ("encoders", "scorers") if name.rpartition(":")[2] in {plugin.name for plugin in plugins.installed(kind)}]
    if not kinds:
        names = sorted(plugin.name for kind in ("encoders", "scorers") for plugin in plugins.installed(kind))
        raise Unknown(f"No encoder and no scorer is named {name!r}.{nearest(name, names)} Installed: {names}.")
    return plugins.load(kinds[0], name, **dict(map(_setting, settings)))


def _setting(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not (name.strip() and sign and value.strip()):
        raise InvalidValue(f"set must be a setting and its value, such as dim=32, or several such as hidden=64,32, got {text!r}.")
    values = [_value(part.strip()) for part in value.split(",") if part.strip()]
    return name.strip().replace("-", "_"), tuple(values) if "," in value else values[0]


def fitted(name: str, part: Any, held: Held, *, seed: int = 0) -> Model:
    """Fits an encoder or a scorer to what is not held out."""
    return Model(name, part, part.fit(held.fitted, seed=seed) if is_encoder(part) else part.fit(held.fitted))


def is_encoder(part: Any) -> bool:
    """Tells an encoder from a scorer."""
    return all(member in dir(part) for member in plugins.contract("encoders"))


def counting(against: Sequence[str] | None, items: Items) -> dict[str, Any]:
    """Makes the counting scorers that models are compared with, by name."""
    names = against or (COUNTING if len(items.ids) <= FEW_ITEMS else COUNTING[:2])
    return {name: part_named(name) for name in names}


def measured(
    models: Sequence[Model],
    held: Held,
    against: Mapping[str, Any],
    *,
    at: int,
    mask_history: bool,
    lists: bool = False,
    groups: str | None = None,
) -> Found:
    """Ranks the catalogue by each model and by the counting scorers that are not among them; if asked to, measures their lists as well.

    A counting scorer has its default settings, and says so where a model of its name has others.
    """
    known = {model.name: told(identity(model.part)) for model in models}
    others = {
        name if known.get(name, told(identity(part))) == told(identity(part)) else f"{name} (default)": part
        for name, part in against.items()
    }
    everything = [*models]
    for name, part in others.items():
        if name not in known:
            with notes().status(f"Fitting {name}"):
                everything.append(fitted(name, part, held))
    found, like = {}, {}
    for model in everything:
        with notes().status(f"Ranking by {model.name}"):
            scores = (by_encoder if is_encoder(model.part) else by_scorer)(model.part, model.state)
            found[model.name] = rank_evaluate(scores, held.cases, at=at, mask_history=mask_history)
            if lists:
                like[model.name] = list_metrics(scores, held.cases, held.fitted, at=at, groups=groups, mask_history=mask_history, user=USER)
    differences = {name: {other: compare_rankings(found[name], found[other]) for other in others if other != name} for name in known}
    return Found(found, {model.name: told(identity(model.part)) for model in everything}, tuple(others), differences, like)


def facts(held: Held, found: Found) -> dict[str, Any]:
    """Returns all that was found, as plain values."""
    first = next(iter(found.models.values()))
    return {
        "held_out": held.rule,
        "events_fitted_to": len(held.fitted.item),
        "cases": len(held.cases.time),
        "items": len(held.cases.items.ids),
        "at": first.at,
        "history_is_masked": first.history_is_masked,
        "models": [
            {
                "model": name,
                "part": found.parts[name],
                **_intervals(each),
                **({"lists": _plain(found.lists[name])} if name in found.lists else {}),
                "differences": {
                    other: _intervals(difference) | {"ndcg_verdict": verdict(difference.ndcg)}
                    for other, difference in found.differences.get(name, {}).items()
                },
            }
            for name, each in found.models.items()
        ],
    }


def _intervals(found: RankEvaluation | RankDifference) -> dict[str, Any]:
    return {metric: getattr(found, metric)._asdict() for metric in METRICS}


def _plain(lists: ListMetrics) -> dict[str, Any]:
    return {name: value._asdict() if isinstance(value, Interval) else value for name, value in lists._asdict().items()}


def verdict(difference: Interval) -> str:
    """Says what an interval of a difference tells."""
    return "better" if difference.low > 0 else "worse" if difference.high < 0 else "no difference seen"


def printed(held: Held, found: Found) -> list[Any]:
    """Returns a table of all models, and their differences from the counting scorers, within 80 columns."""
    first = next(iter(found.models.values()))
    masked = "left out" if first.history_is_masked else "ranked too"
    title = (
        f"Held out: {held.rule}. {len(held.cases.time):,} cases, {len(held.cases.items.ids):,} items ranked, those of the history {masked}."
    )
    table = Table("model", title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.columns[0].overflow = "fold"
    for column in (f"NDCG@{first.at}", "95 % interval", f"HR@{first.at}", f"recall@{first.at}", f"MRR@{first.at}"):
        table.add_column(column, justify="right")
    best = max(found.models, key=lambda name: found.models[name].ndcg.value)
    for name, each in found.models.items():
        values = [f"{interval.value:.4f}" for interval in (each.hit_rate, each.recall, each.mrr)]
        cells = [f"{each.ndcg.value:.4f}", f"{each.ndcg.low:.4f}..{each.ndcg.high:.4f}", *values]
        table.add_row(Text(name), *cells, style="bold" if name == best else None)
    lines = [
        Text.assemble(
            f"{name} against {other}: {difference.ndcg.value:+.4f} ({difference.ndcg.low:+.4f}..{difference.ndcg.high:+.4f}), ",
            (verdict(difference.ndcg), VERDICTS[verdict(difference.ndcg)]),
        )
        for name, differences in found.differences.items()
        for other, difference in differences.items()
    ]
    return [table, *lines, *([_described(found.lists)] if found.lists else [])]


def _described(lists: Mapping[str, ListMetrics]) -> Table:
    """Returns a table of what the models' lists are like."""
    first = next(iter(lists.values()))
    title = f"Their lists of {first.at}. Novelty is in bits; diversity is of groups; calibration is a divergence in nats, best at 0."
    table = Table("model", title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.columns[0].overflow = "fold"
    has_groups = first.diversity is not None
    for column in ("coverage", "Gini", "novelty", *(("diversity", "calibration") if has_groups else ())):
        table.add_column(column, justify="right")
    for name, each in lists.items():
        values = [each.coverage, each.gini, each.novelty.value]
        means = [each.diversity, each.calibration] if has_groups else []
        cells = [f"{value:.4f}" for value in values] + [f"{mean.value:.4f}" if mean else "" for mean in means]
        table.add_row(Text(name), *cells)
    return table


def origin(held: Held) -> dict[str, Any]:
    """Returns what a file says of the events that its model was fitted to."""
    return {"events": made.digest(held.fitted), "num_events": len(held.fitted.item), "catalogue": _catalogue(held.cases.items)}


def doubts(path: Path, part: Any, told_origin: Any, held: Held) -> list[str]:
    """Says why figures of a saved model may be better than they should be.

    Raises:
        InvalidValue: a scorer that numbers items otherwise than this catalogue.
    """
    mine, theirs = origin(held), told_origin if isinstance(told_origin, dict) else {}
    size, digest = theirs.get("catalogue") or (0, "")
    if not is_encoder(part) and digest != _catalogue(held.cases.items, size)[1]:
        raise InvalidValue(
            f"{path} must be of a scorer that was fitted to this catalogue, in this order: scorers know items by their number."
        )
    if mine["events"] == theirs.get("events"):
        return []
    return [
        f"{path} was not fitted to exactly the events before what is held out, with the same --features: what it has seen of that"
        " makes its figures too good."
    ]


def _catalogue(items: Items, size: int | None = None) -> tuple[int, str]:
    """Returns how many of the first items there are, and a digest of their ids."""
    some = items.ids[: len(items.ids) if size is None else size]
    nothing = np.zeros(len(some))
    return len(some), made.digest(Events({}, items, np.arange(len(some)), nothing, nothing))
