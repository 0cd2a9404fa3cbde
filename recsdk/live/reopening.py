"""A recommender opened with the parts that its folder names, for commands that are given a folder and nothing else."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from recsdk.ledger import Ledger
from recsdk.ledger.stores import store
from recsdk.live.contest import ROLES
from recsdk.live.parts import encoder_of, known_of, policy_of, scorers_of, trial_of
from recsdk.live.recommender import Recommender
from recsdk.live.trials import Trials


def reopen(folder: str | Path) -> Recommender:
    """Opens a recommender with the parts that it was last opened with, each made from its name and settings.

    Raises:
        LedgerMismatch: a part that is no plugin, such as a function of the application: open the folder with it by `Recommender.open`.
        LedgerError: when there is no ledger in the folder, or another process has it open.

    Example:
        >>> import recsdk
        >>> with recsdk.Recommender.open("deli", items=[{"id": "ham"}], policy="lin-ucb", floor=0.1):
        ...     pass
        >>> with reopen("deli") as deli:
        ...     deli.policy
        WithFloor(policy=LinUCB(alpha=0.5, ridge=1.0), floor=0.1)
    """
    kind = store(folder)
    with contextlib.closing(kind.read(folder)) as stored:
        parts = parts_of(stored)
    return Recommender.open(folder, **parts, ledger=kind)


def parts_of(stored: Ledger) -> dict[str, Any]:
    """Returns the arguments of `Recommender.open` that a folder names; a floor is among the settings of its policy.

    Raises:
        LedgerMismatch: as `reopen`.
    """
    known = known_of(stored)
    parts: dict[str, Any] = {"policy": policy_of(stored), "floor": 0, "scorers": scorers_of(known), "encoder": encoder_of(known)}
    roles = json.loads(stored.get(ROLES) or "{}")
    if not roles:
        return parts
    trial = trial_of(roles, parts["policy"])
    return parts | {"policy": trial.policy, "trials": Trials(challengers=trial.challengers)}
