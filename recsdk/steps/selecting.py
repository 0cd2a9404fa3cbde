"""Steps that drop rows of a log."""

from __future__ import annotations

import attrs
import numpy as np

from recsdk.base import Table
from recsdk.checks import integer
from recsdk.steps.base import Learned, codes, require
from recsdk.validators import as_tuple, some_texts

EVENT = ("user_id", "item", "time")


@attrs.frozen(kw_only=True)
class DropMissing:
    """Drops rows in which one of the columns has no value.

    Attributes:
        columns: in which a value must be.

    Example:
        >>> from recsdk.datasets import read_rows
        >>> rows = read_rows([{"item": "tea", "time": 5}, {"item": None, "time": 6}])
        >>> DropMissing(columns=("item",)).keep({}, rows.columns)
        array([ True, False])
    """

    columns: tuple[str, ...] = attrs.field(default=EVENT, converter=as_tuple, validator=some_texts)

    def fit(self, table: Table) -> Learned:
        """Learns nothing."""
        require(table, self.columns)
        return {}

    def keep(self, learned: Learned, table: Table) -> np.ndarray:
        """Returns bool[T], which rows are kept."""
        kept: np.ndarray = np.logical_and.reduce([codes(column)[0] >= 0 for column in require(table, self.columns)])
        return kept


@attrs.frozen(kw_only=True)
class DropDuplicates:
    """Drops rows that have the same values as an earlier row; a missing value is one, too.

    Attributes:
        columns: that are compared. By default one user takes one item once at one time.

    Example:
        >>> from recsdk.datasets import read_rows
        >>> rows = read_rows([{"user_id": "ann", "item": "tea", "time": 5, "place": place} for place in ("shop", "phone")])
        >>> DropDuplicates().keep({}, rows.columns)
        array([ True, False])
    """

    columns: tuple[str, ...] = attrs.field(default=EVENT, converter=as_tuple, validator=some_texts)

    def fit(self, table: Table) -> Learned:
        """Learns nothing."""
        require(table, self.columns)
        return {}

    def keep(self, learned: Learned, table: Table) -> np.ndarray:
        """Returns bool[T], which rows are kept."""
        rows = np.stack([codes(column)[0] for column in require(table, self.columns)], axis=1)
        kept = np.zeros(len(rows), bool)
        kept[np.unique(rows, axis=0, return_index=True)[1]] = True
        return kept


@attrs.frozen(kw_only=True)
class KCore:
    """Keeps users and items with at least so many rows each, counted among the rows that are kept: the k-core, to its fixed point.

    To drop a rare item may make a user rare, and so on; here this goes on until nobody is rare. With `users=1` only rare items are
    dropped. Rows without a user or an item are dropped. Fitted on one log, it keeps the same users and items in another.

    Attributes:
        users: rows that a user must have.
        items: rows that an item must have.

    Example:
        >>> from recsdk.datasets import read_rows
        >>> rows = read_rows([{"user_id": user, "item": item} for user, item in ("ax", "ay", "bx", "by", "cx", "cz")])
        >>> step = KCore(users=2, items=2)
        >>> step.fit(rows.columns)
        {'users': ['a', 'b'], 'items': ['x', 'y'], 'num_rounds': 3}

    References:
        Seidman, Network structure and minimum degree, Social Networks, 1983.
    """

    users: int = attrs.field(default=5, validator=integer(at_least=1))
    items: int = attrs.field(default=5, validator=integer(at_least=1))

    def fit(self, table: Table) -> Learned:
        """Learns which users and items are in the core, and in how many rounds it was found."""
        (user, users), (item, items) = map(codes, require(table, EVENT[:2]))
        kept, num_rounds = (user >= 0) & (item >= 0), 0
        while True:
            num_rounds += 1
            enough = [
                np.bincount(code[kept], minlength=len(ids)) >= least
                for code, ids, least in ((user, users, self.users), (item, items, self.items))
            ]
            still = kept.copy()
            still[kept] = enough[0][user[kept]] & enough[1][item[kept]]
            if still.sum() == kept.sum():
                break
            kept = still
        core = [np.unique(code[kept]) for code in (user, item)]
        return {
            "users": [users[code] for code in core[0].tolist()],
            "items": [items[code] for code in core[1].tolist()],
            "num_rounds": num_rounds,
        }

    def keep(self, learned: Learned, table: Table) -> np.ndarray:
        """Returns bool[T], which rows are kept."""
        users, items = frozenset(learned["users"]), frozenset(learned["items"])
        user, item = (column.tolist() for column in require(table, EVENT[:2]))
        return np.fromiter((u in users and i in items for u, i in zip(user, item, strict=True)), bool, len(user))
