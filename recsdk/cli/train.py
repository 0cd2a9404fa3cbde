"""`recsdk train`: fit a model to a log, and say whether it beats counting."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from recsdk.checks import require_integer
from recsdk.cli import curves, rankings
from recsdk.cli import events as logs
from recsdk.cli.output import JsonFlag, notes, print_json, print_notes, results
from recsdk.cli.rankings import Part
from recsdk.data import Unit
from recsdk.encoders import checkpoint
from recsdk.errors import InvalidValue


def train(
    events: Path,
    model: str,
    /,
    *,
    set: Annotated[list[str] | None, Parameter(negative=())] = None,
    items: Path | None = None,
    columns: str | None = None,
    features: str | None = None,
    time_unit: Unit = "s",
    test_time: str | None = None,
    validation_time: str | None = None,
    on: Part = "test",
    at: int = 10,
    rank_history: Annotated[bool, Parameter(negative=())] = False,
    against: Annotated[list[str] | None, Parameter(negative=())] = None,
    seed: int = 0,
    out: Path | None = None,
    curve: Path | None = None,
    json: JsonFlag = False,
) -> None:
    """Fit an encoder or a scorer to a log of events, and compare it with counting on what is held out.

    Args:
        events: Who took what and when: .csv, .tsv, .jsonl, .parquet or RecBole's .inter, all but Parquet also with .gz.
        model: An installed encoder's or scorer's name, such as sasrec; `recsdk plugins` lists them.
        set: A setting of the model and its value, as dim=32; several values as hidden=64,32. May be given several times.
        items: The items' features, in a file of the same kinds, with a column id.
        columns: Which columns are user, item, time and reward, as user=visitor,time=clicked_at. By default those with usual names.
        features: Other columns that are features of the request, as age,city: known before the user takes an item. By default none.
        time_unit: Of the time column: s, ms, us or ns since the epoch. Dates are read as they are.
        test_time: Hold out what came from this moment on, seconds since the epoch or an ISO date, and not each user's last item.
        validation_time: Where the validation begins; by default as long before the test as that lasts.
        on: What to measure on: the test, or the validation, to choose settings by.
        at: How many places count.
        rank_history: Rank what the user has taken before, too.
        against: A scorer to compare with; may be given several times. By default popularity, seq-item-knn, and ease up to 5,000 items.
        seed: Of an encoder's training; scorers draw nothing.
        out: Write the model to this file, for `recsdk rank-eval` and for the encoder "saved".
        curve: Write loss, validation and seconds of each epoch of an encoder of sequences to this .csv, or draw them to this .svg or .png.
        json: Print the results as JSON.
    """
    if out is not None:
        if out.is_dir():
            raise InvalidValue(f"out must be a file, got the folder {str(out)!r}.")
        out.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.library()
    require_integer("at", at, at_least=1)
    part = rankings.part_named(model, set or [])
    if curve is not None:
        curves.check(curve, model, part)
    with notes().status(f"Reading {events}"):
        source = logs.read(events, items, columns=columns, time_unit=time_unit, features=features)
    print_notes(source.notes)
    held = rankings.held_out(source.log, on, test_time, validation_time)
    counting = rankings.counting(against, held.cases.items)
    trained = rankings.fitted(model, part, held, seed=seed)
    told_of = {"fitted": rankings.origin(held), "held_out": held.rule}
    if curve is not None:
        curves.write(curve, trained.state.history, int(trained.state.best_epoch))
    if out is not None:  # before measuring, which may fail or be stopped
        checkpoint.save(out, part, trained.state, notes=told_of)
    found = rankings.measured([trained], held, counting, at=at, mask_history=not rank_history)
    told = rankings.facts(held, found)
    if out is not None:
        figures = next(each for each in told["models"] if each["model"] == model)
        checkpoint.save(out, part, trained.state, notes={**told_of, "measured": figures})
    if json:
        print_json({**told, "notes": list(source.notes), "out": None if out is None else str(out)})
    else:
        results().print(*rankings.printed(held, found), *(() if out is None else (Text(f"Model: {out}"),)), sep="\n")
