"""The ledger as a log: for replay, off-policy evaluation and audits. Reads beside a running recommender."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from urllib.request import pathname2url

import numpy as np

from recsdk.base import Context, Interaction
from recsdk.checks import require_integer, require_number
from recsdk.errors import EmptyLog, LedgerError, LedgerMismatch
from recsdk.ledger import DecisionRecord
from recsdk.ledger.sqlite import read_decisions, read_rewards


def read_ledger(folder: str | Path, *, position: int = 0, default_reward: float | None = None) -> Interaction:
    """Reads what was decided at one position of every slate, and what it earned, from a folder with the SQLite ledger.

    The recommender must have been opened with `log_features="all"`. Every row has its own true propensity: at the first position that of
    a single choice, below it that of the choice among what was left, given what stands above.

    Args:
        folder: the recommender's; it may be open.
        position: from 0, the top; decisions with shorter slates are left out.
        default_reward: what a decision without a reward is worth; None leaves such decisions out.

    Returns:
        A log of T rounds, oldest first, padded to the largest number of candidates.

    Raises:
        EmptyLog: when no decision is left.
        LedgerMismatch: when the ledger has kept the features of the shown candidates only.
        LedgerCorrupt: when a record is not what was written.
        LedgerError: when there is no ledger in the folder.
    """
    require_integer("position", position, at_least=0)
    if default_reward is not None:
        require_number("default_reward", default_reward)
    try:
        with contextlib.closing(_open(Path(folder))) as db:
            db.execute("BEGIN")  # rewards and decisions of one moment, while the recommender goes on
            rewards = {reward.decision_id: reward.value for reward in read_rewards(db) if reward.position == position}
            records = [record for record in read_decisions(db) if len(record.action) > position]
    except sqlite3.Error as error:
        raise LedgerError(f"The ledger in {str(folder)!r} cannot be read: {error}.") from error
    if default_reward is None:
        records = [record for record in records if record.decision_id in rewards]
    if not records:
        raise EmptyLog(f"The ledger in {str(folder)!r} has no {'rewarded ' * (default_reward is None)}decision with a position {position}.")
    values = [rewards.get(record.decision_id, default_reward) for record in records]
    return _log(records, position, np.array(values, np.float64))


def _open(folder: Path) -> sqlite3.Connection:
    path = folder / "ledger.sqlite"
    if not path.is_file():
        raise LedgerError(f"There is no ledger in {str(folder)!r}.")
    return sqlite3.connect(f"file:{pathname2url(str(path.resolve()))}?mode=ro", uri=True, isolation_level=None)


def _log(records: Sequence[DecisionRecord], position: int, rewards: np.ndarray) -> Interaction:
    rounds = len(records)
    places, dim = max(len(record.slots) for record in records), records[0].features.shape[1]
    features, mask, item = np.zeros((rounds, places, dim)), np.zeros((rounds, places), bool), np.zeros((rounds, places), np.int64)
    action, propensity = np.zeros(rounds, np.int64), np.zeros(rounds)
    for row, record in enumerate(records):
        if len(record.features) != len(record.slots):
            raise LedgerMismatch(
                f"Decision {record.decision_id!r} has kept the features of its shown candidates only: "
                "open the recommender with log_features='all' to evaluate other policies."
            )
        num_candidates = len(record.slots)
        features[row, :num_candidates] = record.features
        item[row, :num_candidates] = record.slots
        mask[row, :num_candidates] = True
        mask[row, record.action[:position]] = False
        action[row] = record.action[position]
        propensity[row] = record.probs[position, action[row]]
    return Interaction(Context(features, mask, item), action, rewards, propensity, np.ones(rounds))
