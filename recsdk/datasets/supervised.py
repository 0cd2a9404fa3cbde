"""Classification sets, which a bandit can play: a round shows the features, an arm is a label, the reward is being right."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recsdk.datasets._files import open_text
from recsdk.errors import EmptyLog, InvalidLog


def read_pmlb(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads a set in the encoding of the Penn Machine Learning Benchmarks: numbers, tab-separated, labels in the column `target`.

    Args:
        path: `<name>.tsv` or `<name>.tsv.gz`.

    Returns:
        Features f64[T, D], and labels i64[T] numbered from 0 in the order of their values.

    Raises:
        EmptyLog, InvalidLog: no rows, no labels, or a cell that is not a finite number.
    """
    path = Path(path)
    with open_text(path) as file:
        names = file.readline().rstrip("\r\n").split("\t")
        if "target" not in names:
            raise InvalidLog(f"{path} must have a column 'target', got {names}.")
        try:
            table = np.array([line.split("\t") for line in file], np.float64)
        except ValueError as error:
            raise InvalidLog(f"{path} must hold {len(names)} numbers a line: {error}.") from error
    if not len(table):
        raise EmptyLog(f"{path} must have at least one row, got none.")
    if table.shape[1] != len(names) or not np.isfinite(table).all():
        raise InvalidLog(f"{path} must hold {len(names)} finite numbers a line.")
    target = names.index("target")
    return np.delete(table, target, axis=1), np.unique(table[:, target], return_inverse=True)[1].astype(np.int64)
