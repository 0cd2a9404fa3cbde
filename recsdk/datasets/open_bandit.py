"""Logs of the Open Bandit Dataset: a fashion shop's recommendations with their true propensities.

ZOZOTOWN showed three items at a time, drawn by one of two policies, uniform or Bernoulli Thompson sampling, and logged each
of the three as a row with the probability of that item at that position.

References:
    Saito, Aihara, Matsutani and Narita, "Open Bandit Dataset and Pipeline: towards realistic and reproducible off-policy
    evaluation", NeurIPS Datasets and Benchmarks, 2021.
"""

from __future__ import annotations

import zlib
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recsdk.base import Context, Interaction
from recsdk.checks import require_integer
from recsdk.datasets.files import number, table_rows
from recsdk.errors import InvalidLog, InvalidPropensity, one_of
from recsdk.rounding import given_chances

NUM_POSITIONS = 3
NUM_USER_FEATURES = 4
NUM_ITEM_CATEGORIES = 3
USER = tuple(f"user_feature_{index}" for index in range(NUM_USER_FEATURES))
COLUMNS = ("item_id", "position", "click", "propensity_score", *USER)
ITEM_COLUMNS = ("item_id", "item_feature_0", *(f"item_feature_{index + 1}" for index in range(NUM_ITEM_CATEGORIES)))


class OpenBandit(NamedTuple):
    """A log of one policy in one campaign.

    Attributes:
        log: one interaction for each shown item, oldest first; the reward is 1 for a click, else 0.
        position: i64[T], where in the list of three the item stood: 0 left, 1 centre, 2 right. The propensity is given it.

    Example:
        >>> from recsdk.datasets import load_open_bandit
        >>> log, position = load_open_bandit("random", num_hashed=0)
        >>> int(log.reward.sum()), position[:5]
        (38, array([2, 2, 2, 1, 1]))
    """

    log: Interaction
    position: np.ndarray


class Raw(NamedTuple):
    """The columns of the files; T rounds, K items.

    Attributes:
        item: i64[T]. position: i64[T], from 0. click: f64[T]. propensity: f64[T].
        user: str[T, 4], anonymised values of the user's features.
        affinity: f64[T, K], how often the user has taken each item before.
        item_number: f64[K], the items' one numeric feature.
        item_category: str[K, 3], anonymised values of the others.
        item_id: i64[K], rising; None for 0 to K - 1. `item` and `affinity` have the items in this order.
    """

    item: np.ndarray
    position: np.ndarray
    click: np.ndarray
    propensity: np.ndarray
    user: np.ndarray
    affinity: np.ndarray
    item_number: np.ndarray
    item_category: np.ndarray
    item_id: np.ndarray | None = None


def load_open_bandit(policy: str = "random", *, num_hashed: int = 16) -> OpenBandit:
    """Loads a log that ships with recsdk: 10,000 rows of the campaign "all", 80 items, 38 or 42 clicks.

    It is there to try things on. So few clicks rank no estimators: see the widths of their intervals.

    Args:
        policy: who chose: "random", uniformly, or "bts", Bernoulli Thompson sampling.
        num_hashed: as in `read_open_bandit`.

    Example:
        >>> log, position = load_open_bandit("random", num_hashed=0)
        >>> log.context.features.shape, log.reward.sum(), log.propensity[0]
        ((10000, 80, 5), np.float64(38.0), np.float64(0.0125))
    """
    one_of("policy", policy, ("random", "bts"))
    with resources.files("recsdk.datasets").joinpath("_data/open_bandit.npz").open("rb") as file, np.load(file) as stored:
        part = {name.removeprefix(f"{policy}_"): stored[name] for name in stored.files if name.startswith(f"{policy}_")}
    affinity = np.zeros((len(part["item"]), len(part["item_number"])))
    affinity[part["affinity_row"], part["affinity_item"]] = part["affinity_value"]
    raw = Raw(
        item=part["item"].astype(np.int64),
        position=part["position"].astype(np.int64),
        click=part["click"].astype(np.float64),
        propensity=part["propensity"],
        user=part["user_values"][part["user"]],
        affinity=affinity,
        item_number=part["item_number"],
        item_category=part["item_values"][part["item_category"]],
    )
    return OpenBandit(_log(raw, num_hashed), raw.position)


def bernoulli_ts_probs(position: np.ndarray) -> np.ndarray:
    """Returns f64[T, 80]: what Bernoulli Thompson sampling, as it went live in the campaign "all", does at each position.

    It is the target of the data set's own quickstart, frozen: the share of 100,000 draws from the prior that the shop
    started from, without what it learned later. Not the policy of the "bts" log, which went on learning.

    Args:
        position: i64[T], from 0 to 2.

    Example:
        >>> from recsdk.datasets import bernoulli_ts_probs
        >>> probs = bernoulli_ts_probs(np.array([0, 1, 2]))
        >>> probs.shape, probs.sum(axis=1).round(6)
        ((3, 80), array([1., 1., 1.]))
    """
    with resources.files("recsdk.datasets").joinpath("_data/open_bandit.npz").open("rb") as file, np.load(file) as stored:
        probs: np.ndarray = stored["target"][:, position].T
    return probs


def read_open_bandit(log: str | Path, items: str | Path, *, num_hashed: int = 16, num_rows: int | None = None) -> OpenBandit:
    r"""Reads a log of the data set from its CSV files, plain or gzipped.

    The features of a candidate are phi = [1, position is 1, position is 2, the item's number, the user's affinity to the item],
    and `num_hashed` columns into which each pair of a value of the round (any, the position, four of the user) and a value of
    the item (its id, three categories) is hashed with a sign, so that a linear policy can learn who likes what. A category is named by the
    first item that has it, since every log of the data set anonymises them anew: an item's features agree between two logs.

    Args:
        log: `<campaign>.csv` of one policy. Its features take 8 K (5 + num_hashed) bytes a row: 13 kB with 80 items.
        items: `item_context.csv` beside it; its rows are the candidates, in the order of their ids, which are also their catalogue slots.
        num_hashed: number of hashed columns; 0 for the five plain ones only.
        num_rows: how many rows to read from the start; None for all.

    Raises:
        InvalidLog, InvalidPropensity: a line that cannot be used, by its number.

    Example:
        >>> of_users = ",".join(f"user_feature_{number}" for number in range(4))
        >>> names = f"item_id,position,click,propensity_score,{of_users},user-item_affinity_0,user-item_affinity_1"
        >>> _ = Path("men.csv").write_text(f"{names}\n1,2,0,0.25,a,b,c,d,0,3\n0,1,1,0.5,a,b,c,e,0,0")
        >>> names = "item_id,item_feature_0,item_feature_1,item_feature_2,item_feature_3"
        >>> _ = Path("item_context.csv").write_text(f"{names}\n0,-1.5,x,v,w\n1,0.5,x,y,z")
        >>> found = read_open_bandit("men.csv", "item_context.csv", num_hashed=0)
        >>> found.log.propensity, found.position
        (array([0.25, 0.5 ]), array([1, 0]))
    """
    if num_rows is not None:
        require_integer("num_rows", num_rows, at_least=1)
    raw = read_raw(Path(log), Path(items), num_rows=num_rows)
    return OpenBandit(_log(raw, num_hashed), raw.position)


def read_raw(log: Path, items: Path, *, num_rows: int | None = None) -> Raw:
    """Reads the files' columns as they are, checked."""
    item_rows = _item_rows(items)
    place = {item_id: index for index, item_id in enumerate(item_rows)}
    names = tuple(f"user-item_affinity_{item_id}" for item_id in item_rows)
    rows: list[tuple[list[float], list[str], np.ndarray]] = []
    for line, row in table_rows(log, required=(*COLUMNS, *names)):
        if len(rows) == num_rows:
            break
        rows.append(_row(row, place, names, log, line))
    numbers = np.array([head for head, _, _ in rows], np.float64).reshape(-1, 4)
    return Raw(
        item=numbers[:, 0].astype(np.int64),
        position=numbers[:, 1].astype(np.int64) - 1,
        click=numbers[:, 2],
        propensity=numbers[:, 3],
        user=np.array([user for _, user, _ in rows]).reshape(-1, NUM_USER_FEATURES),
        affinity=np.array([affinity for _, _, affinity in rows]).reshape(-1, len(names)),
        item_number=np.array([number(row, "item_feature_0", items, line) for line, row in item_rows.values()]),
        item_category=np.array([[row[name] for name in ITEM_COLUMNS[2:]] for _, row in item_rows.values()]),
        item_id=np.array(list(item_rows)),
    )


def _item_rows(path: Path) -> dict[int, tuple[int, dict[str, str]]]:
    """Returns the line and row of each item by its id, in the order of the ids."""
    found: dict[int, tuple[int, dict[str, str]]] = {}
    for line, row in table_rows(path, required=ITEM_COLUMNS):
        item_id = number(row, "item_id", path, line)
        if not item_id.is_integer() or not 0 <= item_id < 2**53:
            raise InvalidLog(f"{path}, line {line}: item_id must be a whole number >= 0, got {row['item_id']!r}.")
        if item_id in found:
            raise InvalidLog(
                f"{path}, line {line}: item_id must be there once, got {int(item_id)}, which line {found[int(item_id)][0]} has."
            )
        found[int(item_id)] = line, row
    if not found:
        raise InvalidLog(f"{path} must have at least one item, got none.")
    return dict(sorted(found.items()))


def _row(
    row: dict[str, str], place: dict[int, int], names: tuple[str, ...], path: Path, line: int
) -> tuple[list[float], list[str], np.ndarray]:
    item, position, click, propensity = (number(row, name, path, line) for name in COLUMNS[:4])
    if item not in place:
        raise InvalidLog(f"{path}, line {line}: item_id must be one of the {len(place)} ids in the table of items, got {row['item_id']}.")
    if position not in range(1, NUM_POSITIONS + 1):
        raise InvalidLog(f"{path}, line {line}: position must be 1, 2 or 3, got {row['position']}.")
    if click not in (0, 1):
        raise InvalidLog(f"{path}, line {line}: click must be 0 or 1, got {row['click']}.")
    try:
        propensity = float(given_chances("propensity_score", propensity).values)
    except InvalidPropensity as error:
        raise InvalidPropensity(f"{path}, line {line}: {error}") from error
    head: list[float] = [place[int(item)], position, click, propensity]
    return head, [row[name] for name in USER], np.array([number(row, name, path, line) for name in names])


def _log(raw: Raw, num_hashed: int) -> Interaction:
    require_integer("num_hashed", num_hashed, at_least=0)
    shape = raw.affinity.shape
    features = np.empty((*shape, 5 + num_hashed))
    features[:, :, 0] = 1
    features[:, :, 1] = (raw.position == 1)[:, None]
    features[:, :, 2] = (raw.position == 2)[:, None]
    features[:, :, 3] = raw.item_number
    features[:, :, 4] = raw.affinity
    if num_hashed:
        features[:, :, 5:] = _hashed(raw, num_hashed)
    item_id = np.arange(shape[1]) if raw.item_id is None else raw.item_id
    context = Context(features, np.ones(shape, np.bool_), np.tile(item_id, (shape[0], 1)))
    return Interaction(context, raw.item, raw.click, raw.propensity, np.ones(len(raw.item)))


def _hashed(raw: Raw, num_hashed: int) -> np.ndarray:
    """Returns f64[T, K, num_hashed]: sums of signed pairs, scaled so that a row's length is about 1."""
    item_id = list(range(raw.affinity.shape[1])) if raw.item_id is None else raw.item_id.tolist()
    categories = [_named_by_first(values, item_id) for values in raw.item_category.T.tolist()]
    of_items = [[f"id={each}", *values] for each, *values in zip(item_id, *categories, strict=True)]
    of_rounds = [np.full(len(raw.item), "any"), np.char.add("position=", raw.position.astype(str)), *raw.user.T]
    total = np.zeros((*raw.affinity.shape, num_hashed))
    for column, values in enumerate(of_rounds):
        known, code = np.unique(values, return_inverse=True)
        table = np.zeros((len(known), len(of_items), num_hashed))
        for index, value in enumerate(known):
            for item, item_values in enumerate(of_items):
                for place, item_value in enumerate(item_values):
                    key = zlib.crc32(f"{column}={value} {place}={item_value}".encode())
                    table[index, item, (key >> 1) % num_hashed] += 1 - 2 * (key & 1)
        total += table[code]
    scaled: np.ndarray = total / np.sqrt(len(of_rounds) * (1 + NUM_ITEM_CATEGORIES))
    return scaled


def _named_by_first(values: list[str], item_id: list[int]) -> list[str]:
    """Names each category by the first item that has it: each file has anonymised the categories in its own way."""
    first: dict[str, int] = {}
    return [f"of {first.setdefault(value, each)}" for value, each in zip(values, item_id, strict=True)]
