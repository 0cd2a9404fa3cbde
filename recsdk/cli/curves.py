"""How a training went: the loss and the validation of each epoch, as a table or a picture."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from recsdk.errors import InvalidValue, MissingExtra, install

COLUMNS = ("epoch", "loss", "validation", "seconds")
"""The mean loss, the NDCG@10 of the users that are held back, and how long the epoch took."""
PICTURES = (".svg", ".png")


def check(path: Path, model: str, part: Any) -> None:
    """Refuses a curve that could not be drawn, before anything is fitted.

    Raises:
        InvalidValue: a model without epochs, or a file of another kind.
        MissingExtra: a picture, and nothing to draw it with.
    """
    if "best_epoch" not in getattr(part.init(), "_fields", ()):
        raise InvalidValue(f"curve goes with encoders of sequences, such as sasrec, which tell of each epoch, got the model {model!r}.")
    if path.suffix not in (".csv", *PICTURES):
        raise InvalidValue(f"curve must be a file .csv, .svg or .png, got {str(path)!r}.")
    missing = [name for name in ("altair", "vl_convert") if path.suffix in PICTURES and importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(f"A curve as {path.suffix} needs {' and '.join(missing)}: {install('report')}. A .csv needs nothing.")


def write(path: Path, history: np.ndarray, best_epoch: int) -> None:
    """Writes f64[epochs, 3], loss, validation and seconds, to a file of the kind that its name says; the picture marks the best epoch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [(number, *row) for number, row in enumerate(history.tolist(), 1)]
    if path.suffix in PICTURES:
        _draw(path, rows, best_epoch)
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


def _draw(path: Path, rows: list[tuple[float, ...]], best_epoch: int) -> None:
    import altair as alt

    values = alt.InlineData([dict(zip(COLUMNS, row, strict=True)) for row in rows])
    mark = alt.Chart(alt.InlineData([{"epoch": best_epoch}])).mark_rule(strokeDash=[4, 4], color="grey").encode(x="epoch:Q")
    titles = {"loss": "mean loss", "validation": "validation NDCG@10"}
    panels = [
        alt.Chart(values, width=320, height=200)
        .mark_line(point=True)
        .encode(x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1)), y=alt.Y(f"{name}:Q", title=title, scale=alt.Scale(zero=False)))
        for name, title in titles.items()
    ]
    chart = alt.hconcat(*(mark + panel for panel in panels), title=f"Dashed: the best epoch, {best_epoch}, whose parameters are kept")
    chart.configure(background="white").save(path)
