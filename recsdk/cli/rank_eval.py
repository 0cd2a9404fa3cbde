"""`recsdk rank-eval`: how well do models order the catalogue for what users took next?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from recsdk.checks import require_integer
from recsdk.cli import events as logs
from recsdk.cli import rankings
from recsdk.cli.output import JsonFlag, notes, print_json, print_notes, results
from recsdk.cli.rankings import Held, Model, Part
from recsdk.data import Unit
from recsdk.errors import InvalidValue


def rank_eval(
    events: Path,
    model: Annotated[list[str], Parameter(negative=())],
    /,
    *,
    items: Path | None = None,
    columns: str | None = None,
    features: str | None = None,
    time_unit: Unit = "s",
    test_time: str | None = None,
    validation_time: str | None = None,
    on: Part = "test",
    at: int = 10,
    rank_history: Annotated[bool, Parameter(negative=())] = False,
    lists: Annotated[bool, Parameter(negative=())] = False,
    groups: str | None = None,
    against: Annotated[list[str] | None, Parameter(negative=())] = None,
    seed: int = 0,
    json: JsonFlag = False,
) -> None:
    """Measure how well models order the whole catalogue for what users took next, and compare them with counting.

    Args:
        events: As in train.
        model: A file that train has written, or an encoder's or scorer's name, which is fitted here with its default settings; several.
        items: As in train.
        columns: As in train.
        features: As in train.
        time_unit: As in train.
        test_time: As in train.
        validation_time: As in train.
        on: As in train.
        at: How many places count.
        rank_history: Rank what the user has taken before, too.
        lists: Measure what the lists are like as well: coverage, Gini, novelty.
        groups: A feature of the items, such as genres, for the lists' diversity and calibration.
        against: As in train.
        seed: Of the training of encoders that are fitted here; scorers draw nothing.
        json: Print the results as JSON.
    """
    require_integer("at", at, at_least=1)
    if len({*model}) < len(model):
        raise InvalidValue(f"model must name each once, got {model}.")
    with notes().status(f"Reading {events}"):
        source = logs.read(events, items, columns=columns, time_unit=time_unit, features=features)
    held = rankings.held_out(source.log, on, test_time, validation_time)
    doubts: list[str] = []
    models = [_model(name, held, doubts) for name in model]
    counting = rankings.counting(against, held.cases.items)
    print_notes([*source.notes, *doubts])
    models = [each if each.state is not None else rankings.fitted(each.name, each.part, held, seed=seed) for each in models]
    found = rankings.measured(
        models, held, counting, at=at, mask_history=not rank_history, lists=lists or groups is not None, groups=groups
    )
    if json:
        print_json({**rankings.facts(held, found), "notes": [*source.notes, *doubts]})
    else:
        results().print(*rankings.printed(held, found), sep="\n")


def _model(name: str, held: Held, doubts: list[str]) -> Model:
    """Returns a model from its file, or without a state, to be fitted here; notes what makes its figures doubtful."""
    path = Path(name)
    if not path.is_file():
        return Model(name, rankings.part_named(name), None)
    from recsdk.encoders.checkpoint import load, read_header
    from recsdk.encoders.saved import part_of

    part = part_of(path)
    doubts += rankings.doubts(path, part, read_header(path).get("notes", {}).get("fitted"), held)
    return Model(name, part, load(path, part))
