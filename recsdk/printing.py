"""Plain text for terminals and logs."""

from __future__ import annotations

from collections.abc import Sequence


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns rows of text under a header, in columns; a column is aligned to the right if its header begins with a space.

    Example:
        >>> print(text_table(["name", " rows"], [["clip", "12"], ["scale", "1,040"]]))
        name    rows
        clip      12
        scale  1,040
    """
    names = [name.strip() for name in header]
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    pads = [str.rjust if name.startswith(" ") else str.ljust for name in header]
    lines = ["  ".join(pad(cell, width) for pad, cell, width in zip(pads, row, widths, strict=True)) for row in (names, *rows)]
    return "\n".join(line.rstrip() for line in lines)
