"""Classification sets, which a bandit can play: a round shows the features, an action is a label, the reward is being right."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from recsdk.datasets.files import text_lines
from recsdk.errors import EmptyLog, InvalidLog, quoted


def read_pmlb(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    r"""Reads a set in the encoding of the Penn Machine Learning Benchmarks: numbers, tab-separated, labels in the column `target`.

    Args:
        path: `<name>.tsv` or `<name>.tsv.gz`.

    Returns:
        Features f64[T, D], and labels i64[T] numbered from 0 in the order of their values.

    Raises:
        EmptyLog, InvalidLog: no rows, no labels, or a cell that is not a finite number.

    Example:
        >>> _ = Path("set.tsv").write_text("x\ty\ttarget\n1\t2\t7\n3\t4\t9\n")
        >>> features, labels = read_pmlb("set.tsv")
        >>> features, labels
        (array([[1., 2.],
               [3., 4.]]), array([0, 1]))
    """
    path = Path(path)
    lines = text_lines(path)
    names = next(lines, "").rstrip("\r\n").split("\t")
    if "target" not in names:
        raise InvalidLog(f"{path} must have a column 'target', got {names}.")
    if len(set(names)) < len(names):
        raise InvalidLog(f"{path} must name each column once, got {names}.")
    table = np.array([_numbers(line, len(names), path, number) for number, line in enumerate(lines, start=2)])
    if not len(table):
        raise EmptyLog(f"{path} must have at least one row, got none.")
    target = names.index("target")
    return np.delete(table, target, axis=1), np.unique(table[:, target], return_inverse=True)[1].astype(np.int64)


def _numbers(line: str, size: int, path: Path, number: int) -> list[float]:
    try:
        row = [float(cell) for cell in line.split("\t")]
    except ValueError as error:
        raise InvalidLog(f"{path}, line {number}: must hold {size} numbers a line: {error}.") from error
    if len(row) != size or not all(map(math.isfinite, row)):
        raise InvalidLog(f"{path}, line {number}: must hold {size} finite numbers a line, got {quoted(line.strip())}.")
    return row
