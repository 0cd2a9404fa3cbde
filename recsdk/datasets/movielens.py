"""MovieLens 100K: 943 users' ratings of 1,682 films, with times."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recsdk.base import Events, Items
from recsdk.data import events_from_rows, items_from_rows
from recsdk.datasets.files import number, table_rows
from recsdk.errors import InvalidLog


def read_movielens(folder: str | Path) -> tuple[Items, Events]:
    r"""Reads the data set from RecBole's atomic files `ml-100k.item`, `.user` and `.inter`.

    The data may be used for research and not be redistributed; see GroupLens' terms.

    Args:
        folder: holds the three files.

    Returns:
        Items with "title", "genres" and "year", and events with the rating, 1 to 5, as the reward and of the user "user_id",
        "age", "gender", "occupation" and "zip_code", oldest first. When films entered the catalogue is not known.

    Raises:
        InvalidLog, UnknownItem: a line that cannot be used, by its number.

    Example:
        >>> folder = Path("ml-100k")
        >>> folder.mkdir()
        >>> def write(kind, *rows):
        ...     _ = (folder / f"ml-100k.{kind}").write_text("\n".join("\t".join(row.split("|")) for row in rows))
        >>> write("item", "item_id:token|movie_title:token_seq|release_year:token|class:token_seq", "7|Heat|1995|Crime Drama")
        >>> write("user", "user_id:token|age:token|gender:token|occupation:token|zip_code:token", "1|24|F|writer|12345")
        >>> write("inter", "user_id:token|item_id:token|rating:float|timestamp:float", "1|7|4|880000000")
        >>> items, events = read_movielens(folder)
        >>> items.features["genres"][0], events.reward
        (['Crime', 'Drama'], array([4.]))

    References:
        Harper and Konstan, "The MovieLens datasets: history and context", ACM TiiS, 2015.
    """
    folder = Path(folder)
    items = items_from_rows(_film(row) for _, row in _atomic_rows(folder / "ml-100k.item"))
    users = {row["user_id"]: _user(row) for _, row in _atomic_rows(folder / "ml-100k.user")}
    path = folder / "ml-100k.inter"
    return items, events_from_rows(items, (_rating(row, users, path, line) for line, row in _atomic_rows(path)))


def _atomic_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Returns rows by line; the header's cells are `name:type`, of which the name is kept."""
    return [(line, {name.partition(":")[0]: cell for name, cell in row.items()}) for line, row in table_rows(path, delimiter="\t")]


def _film(row: Mapping[str, str]) -> dict[str, Any]:
    year = row["release_year"]
    return {
        "id": row["item_id"],
        "title": row["movie_title"],
        "genres": row["class"].split(),
        "year": float(year) if year.isdecimal() else None,
    }


def _user(row: Mapping[str, str]) -> dict[str, Any]:
    return {**row, "age": float(row["age"])}


def _rating(row: dict[str, str], users: Mapping[str, dict[str, Any]], path: Path, line: int) -> dict[str, Any]:
    if row["user_id"] not in users:
        raise InvalidLog(f"{path}, line {line}: user_id must be one of ml-100k.user, got {row['user_id']!r}.")
    reward, time = number(row, "rating", path, line), number(row, "timestamp", path, line)
    return {"item": row["item_id"], "reward": reward, "time": time, **users[row["user_id"]]}
