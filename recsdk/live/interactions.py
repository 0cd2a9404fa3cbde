"""What a policy learns from: an outcome in the terms of the contract."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsdk.base import Context, Interaction, Policy, learn
from recsdk.errors import LedgerMismatch
from recsdk.ledger import DecisionRecord, RewardRecord
from recsdk.live.guard import everything, only_reading
from recsdk.live.marks import left, read


def after(policy: Policy[Any], state: Any, record: DecisionRecord, reward: RewardRecord, earlier: RewardRecord | None) -> Any:
    """Returns the state after one reward; for a correction, `earlier` is the reward that it takes back first.

    A decision that lacked evidence teaches nothing: phi has 0 where a part failed, which would be learned as what it said.

    Raises:
        InvalidAnswer: when the policy writes to its input.
    """
    if not read(record).has_all_evidence:
        return state
    with only_reading(policy):
        if earlier is not None and not earlier.void:
            state = policy.forget(state, interaction(policy, record, earlier))  # type: ignore[attr-defined]  # the caller has asked for it
        return state if reward.void else learn(policy, state, interaction(policy, record, reward))


def interaction(policy: Policy[Any], record: DecisionRecord, reward: RewardRecord) -> Interaction:
    """Returns what a policy learns from: the candidates that were left at that position, or of them the shown one only.

    The reward of a whole page is one outcome, and is learned once: as what came of the choice at the top, given what it put below.

    Raises:
        LedgerMismatch: when the policy learns from all candidates and the ledger has kept the shown ones.
    """
    position = max(reward.position, 0)
    action = int(record.action[position])
    propensity = float(record.probs[position, action])
    keeps_all = len(record.features) == len(record.slots)
    if policy.learns_from == "chosen":
        place = action if keeps_all else position
        row = record.features[place : place + 1].astype(np.float64)
        context = Context(row, everything(1), record.slots[action : action + 1].astype(np.int64))
        return Interaction(context, 0, reward.value, propensity, 1.0)
    if not keeps_all:
        raise LedgerMismatch(f"{policy!r} learns from all candidates, the ledger has kept the shown ones: log_features must be 'all'.")
    context = Context(record.features.astype(np.float64), left(record, position), record.slots.astype(np.int64))
    return Interaction(context, action, reward.value, propensity, 1.0)
