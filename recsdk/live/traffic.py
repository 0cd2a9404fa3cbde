"""How the traffic of a recommender is shared: sticky slates, burn-in, and a holdout."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any, Literal

import attrs
import numpy as np

from recsdk import states
from recsdk.base import Policy
from recsdk.checks import integer, number
from recsdk.errors import InvalidValue
from recsdk.ledger import DecisionRecord, Ledger
from recsdk.live import intake, marks
from recsdk.live.drawing import Arm
from recsdk.live.identity import identity
from recsdk.live.marks import APPLICATION, BURN_IN, HOLDOUT, PLAIN, Marks
from recsdk.live.rewards import Feedback
from recsdk.validators import choice

FORGOTTEN = "traffic/forgotten"
"""Where the ledger keeps how many slates were drawn for users who are forgotten: their records do not tell any more."""


@attrs.frozen(kw_only=True)
class Traffic:
    """How long a slate stays, and who decides for which part of the requests.

    Every decision is logged with the probability that it really had, and its record says which arm chose it. The policy learns from the
    rewards of all arms. `recsdk.read_traffic` reports, and checks that the holdout's share is as set.

    Attributes:
        sticky: seconds for which a user sees the same slate again; 0 draws anew each time.
        burn_in: the first so many decisions of the folder are uniform.
        holdout: share of the traffic that `holdout_policy` decides after the burn-in.
        holdout_policy: by name or as a config; used as it is, without a floor, and it never learns.
        holdout_by: "user" puts a user into the holdout or not, for good. The probability logged is that of the user's own arm, since
            earlier decisions may have told which it is. "decision" assigns each decision anew, as it does where there is no user. The
            probability logged is then that of the mixture.

    Example:
        >>> import recsdk
        >>> traffic = recsdk.Traffic(burn_in=100, holdout=0.1)
        >>> with recsdk.Recommender.open("shop", items=[{"id": "tea"}, {"id": "coffee"}], traffic=traffic) as shop:
        ...     shop.recommend({}, user="ann").propensities
        (0.5,)
    """

    sticky: float = attrs.field(default=0.0, validator=number(at_least=0))
    burn_in: int = attrs.field(default=0, validator=integer(at_least=0))
    holdout: float = attrs.field(default=0.0, validator=number(at_least=0, at_most=1))
    holdout_policy: str | Policy[Any] = "uniform"
    holdout_by: Literal["user", "decision"] = attrs.field(default="user", validator=choice("user", "decision"))

    def check(self, feedback: Feedback | None) -> None:
        """Refuses slates that would stay when signals about them are too late already.

        Raises:
            InvalidValue: `sticky` beyond the window of the feedback.
        """
        if feedback is not None and self.sticky > feedback.window:
            window = f"the window of the feedback, {feedback.window:g}"
            raise InvalidValue(f"Traffic.sticky must be at most {window}, since that begins with the draw, got {self.sticky:g}.")


class Arms:
    """Who decides for which request.

    Attributes:
        traffic: as set.
        num_drawn: slates that were drawn in this folder, counted until the burn-in is over.
    """

    def __init__(self, traffic: Traffic | None) -> None:
        if not isinstance(traffic, Traffic | None):
            raise InvalidValue(f"traffic must be a recsdk.Traffic, got {traffic!r}.")
        self.traffic = traffic or Traffic()
        self.num_drawn = 0
        self._holdout = intake.policy(self.traffic.holdout_policy)
        if states.is_native(self._holdout):
            raise InvalidValue(f"Traffic.holdout_policy must keep its state in arrays, got the native {self._holdout!r}.")
        self._state: Any = None
        self._burn_in = Arm(BURN_IN, 1.0, intake.policy("uniform"), ())

    def start(self, ledger: Ledger, prior: np.ndarray) -> None:
        """Counts the draws of a folder, and makes the state of the holdout's policy."""
        forgotten = num_forgotten(ledger)
        draws = (record for record in ledger.decisions() if len(record.action) and is_draw(marks.read(record)))
        self.num_drawn = forgotten + sum(1 for _ in itertools.islice(draws, max(self.traffic.burn_in - forgotten, 0)))
        self._state = self._holdout.init(prior)

    def described(self) -> dict[str, Any]:
        """Returns the holdout as a part of what decides, in plain JSON; nothing where there is none."""
        if not self.traffic.holdout:
            return {}
        return {"holdout": {"policy": identity(self._holdout), "share": self.traffic.holdout, "by": self.traffic.holdout_by}}

    def of(
        self, policy: Arm, user: str | None, rng: Callable[[str, bytes], np.random.Generator], num_before: int = 0
    ) -> tuple[list[Arm], Marks]:
        """Returns the arms that may decide a request, with their shares, and the marks that they have in common.

        Args:
            policy: the arm of the policy.
            user: the user's key.
            rng: makes a stream of a name and a purpose, always the same.
            num_before: slates that are drawn before this one, and not counted yet.
        """
        if self.num_drawn + num_before < self.traffic.burn_in:
            return [self._burn_in], Marks(arm=BURN_IN)
        share = self.traffic.holdout
        if not share:
            return [policy], PLAIN
        arms = [policy._replace(share=1 - share), Arm(HOLDOUT, share, self._holdout, self._state)]
        if self.traffic.holdout_by == "user" and user is not None:
            return [arms[rng(user, b"holdout").random() < share]], Marks(by="user")
        return [arm for arm in arms if arm.share], Marks(by="decision")


def num_forgotten(ledger: Ledger) -> int:
    """Returns how many slates were drawn for users who are forgotten."""
    return int(ledger.get(FORGOTTEN) or b"0")


def forget(ledger: Ledger, records: Iterable[DecisionRecord]) -> None:
    """Counts the draws among decisions that are being emptied, inside that transaction."""
    num = sum(is_draw(marks.read(record)) for record in records)
    if num:
        ledger.put(FORGOTTEN, str(num_forgotten(ledger) + num).encode())


def is_draw(found: Marks) -> bool:
    """Tells whether a decision of such marks was drawn."""
    return found.repeats is None and found.arm != APPLICATION
