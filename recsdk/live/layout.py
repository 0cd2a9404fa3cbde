"""The layout of phi: the name of each column of a logged phi, and its place in today's.

Scorers and the encoder may change while a folder lives. The log keeps phi as it was; the fold puts each column in its present place by
its name. A column that is new is 0 in what was logged before it, and one that is gone is dropped.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np


class Layout(NamedTuple):
    """The columns of phi: [deep score, scorers' columns, user * item, 1].

    Attributes:
        version: of the encoder, "none" without one. Vectors of different versions lie in different spaces.
        dim: width of its vectors.
        columns: of each scorer's column, the number under which the scorer was fitted, and the column's name.
    """

    version: str
    dim: int
    columns: tuple[tuple[int, str], ...]

    @property
    def width(self) -> int:
        """D, the number of columns of phi."""
        return int(self.dim > 0) + len(self.columns) + self.dim + 1

    @property
    def start(self) -> int:
        """The place of the first scorer's column."""
        return int(self.dim > 0)


def read(text: str, width: int, known: dict[int, tuple[str, ...]]) -> Layout:
    """Returns the layout of a logged phi.

    Args:
        text: the `parts` of its decision.
        width: D, of its features.
        known: columns of each fitted scorer; decisions of older versions of recsdk name none, they had the first ones.

    Example:
        >>> read('{"encoder": "none", "scorers": [{"fitted": 2, "columns": ["price"]}]}', 2, {})
        Layout(version='none', dim=0, columns=((2, 'price'),))
    """
    parts = json.loads(text)
    columns: list[tuple[int, str]] = []
    for place, scorer in enumerate(parts["scorers"]):
        number, names = (place, known[place]) if isinstance(scorer, str) else (scorer["fitted"], scorer["columns"])
        columns += [(number, name) for name in names]
    rest = width - len(columns) - 1
    return Layout(parts["encoder"], max(rest - 1, 0), tuple(columns))


def moved(features: np.ndarray, old: Layout, new: Layout) -> np.ndarray:
    """Returns f32[R, new.width]: each column of `features` f32[R, old.width] in its new place, 0 in those that it did not have.

    Example:
        >>> old, new = Layout("none", 0, ((0, "age"), (1, "price"))), Layout("none", 0, ((1, "price"), (2, "size")))
        >>> moved(np.array([[3.0, 5.0, 1.0]], np.float32), old, new).tolist()
        [[5.0, 0.0, 1.0]]
    """
    if old == new:
        return features
    found = np.zeros((len(features), new.width), np.float32)
    places = {column: place for place, column in enumerate(old.columns)}
    for place, column in enumerate(new.columns):
        if column in places:
            found[:, new.start + place] = features[:, old.start + places[column]]
    if old.version == new.version and new.dim:
        found[:, 0] = features[:, 0]
        found[:, -1 - new.dim : -1] = features[:, -1 - new.dim : -1]
    found[:, -1] = features[:, -1]
    return found


def to_json(layout: Layout) -> Any:
    """Returns a layout as plain JSON."""
    return {"version": layout.version, "dim": layout.dim, "columns": [list(column) for column in layout.columns]}


def from_json(stored: Any) -> Layout:
    """Reads what `to_json` gave.

    Example:
        >>> from_json(to_json(Layout("none", 0, ((0, "age"),))))
        Layout(version='none', dim=0, columns=((0, 'age'),))
    """
    return Layout(stored["version"], stored["dim"], tuple((number, name) for number, name in stored["columns"]))
