"""Warnings that the live loop gives once: request features that no part reads, and requests that change nothing."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from recsdk.base import Items, Request
from recsdk.errors import IgnoredInput, InvalidScores, warn
from recsdk.live.evidence import Evidence
from recsdk.live.faults import STRICT, Asking
from recsdk.live.guard import Features

NUM_REQUESTS = 20
"""Requests after which a feature that no part has read counts as ignored."""
NUM_COMPARISONS = 100
"""Requests, each unlike the one before, after which phi counts as independent of the request."""


class Notices:
    """Watches the first requests after the opening, and warns once of each kind. Later requests cost nothing."""

    def __init__(self) -> None:
        self._sent: dict[str, None] = {}
        self._read: set[str] = set()
        self._num_requests = 0
        self._num_alike = 0
        self._depends = False
        self._previous: dict[str, Any] | None = None
        self._outgrown: tuple[int, int] | None = None
        self._lock = threading.Lock()  # of the counts; what is compared is computed outside of it

    def observe(self, features: Features) -> None:
        """Records which features a request had, and which of them were read."""
        if self._num_requests >= NUM_REQUESTS:
            return
        with self._lock:
            # The ledger keeps "user_id" as the user's key: it has a use, even if no part reads it.
            self._sent.update((name, None) for name in features.plain() if name != "user_id")
            self._read |= features.read
            self._num_requests += self._num_requests < NUM_REQUESTS

    def compare(
        self, evidence: Evidence, request: Request, candidates: Items, vectors: np.ndarray, phi: np.ndarray, asking: Asking = STRICT
    ) -> None:
        """Compares phi with what it would be for the request before, of the same candidates at the same time; of no failed part."""
        if asking.failed or self._depends or self._num_alike >= NUM_COMPARISONS or not isinstance(request.features, Features):
            return
        present = request.features.plain()
        previous, self._previous = self._previous, present
        if previous is None or previous == present:
            return
        other, asking = Request(Features(previous), request.time), asking.again()
        try:
            phi_before = evidence.phi(evidence.user(other, asking), other, candidates, vectors, asking, (InvalidScores,))
            depends = bool(asking.failed) or not np.array_equal(phi_before, phi)
        except Exception:
            depends = True
        with self._lock:
            self._depends |= depends
            self._num_alike += not depends and self._num_alike < NUM_COMPARISONS

    def forget(self) -> None:
        """Lets go of the request before."""
        self._previous = None

    def outgrown(self, num_items: int, num_scored: int) -> None:
        """Records that the catalogue has more items than are scored."""
        if self._outgrown is None and num_items > num_scored:
            self._outgrown = (num_items, num_scored)

    def warn(self) -> None:
        """Gives the warnings that are due, before a decision is made.

        Warns:
            IgnoredInput: features that no part reads; request features that change the evidence of no candidate; items that are not scored.
        """
        outgrown = self._outgrown
        if outgrown is not None and outgrown[1] and self._claims("_outgrown", outgrown, (0, 0)):
            num_items, num_scored = outgrown
            text = f"Of {num_items:,} items, {num_scored:,} are drawn for each request and scored: give an encoder, or raise num_scored"
            warn(f"{text}.", IgnoredInput)
        if self._claims("_num_requests", NUM_REQUESTS, NUM_REQUESTS + 1):
            self._warn_of_unread()
        if self._claims("_num_alike", NUM_COMPARISONS, NUM_COMPARISONS + 1):
            text = f"Request features changed the evidence of no candidate in {NUM_COMPARISONS} requests that differed"
            warn(f"{text}: all users get the same ranking. {REMEDY}", IgnoredInput)

    def _claims(self, name: str, due: Any, said: Any) -> bool:
        if getattr(self, name) != due:
            return False
        with self._lock:
            is_first = getattr(self, name) == due
            setattr(self, name, said)
            return bool(is_first)

    def _warn_of_unread(self) -> None:
        unread = [name for name in self._sent if name not in self._read]
        if not unread:
            return
        if len(unread) == len(self._sent):
            self._depends = True  # said here already
        text = f"No scorer, rule or encoder has read the request features {unread} in {NUM_REQUESTS} requests"
        warn(f"{text}: they change nothing. {REMEDY} Otherwise leave them out.", IgnoredInput)


REMEDY = "Give a scorer that compares the request with the items, such as 'crossed', or an encoder fitted to `history`."
