"""The contest of a folder: which policy decides, which challengers learn beside it, and when they change places."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from recsdk import states
from recsdk.base import Policy
from recsdk.errors import InvalidValue, LedgerMismatch, Unproven, nearest
from recsdk.ledger import DecisionRecord, Ledger, RewardRecord
from recsdk.live import base
from recsdk.live.identity import differences, identity
from recsdk.live.trials import GIVEN, Entry, Ramped, Standing, Trials, is_judged, share_of
from recsdk.ope.intervals.sequence import Running

ROLES = "trials"
"""Where the ledger keeps who decides, and since when each of the others is judged."""


NEVER = 2**62
"""More outcomes than any folder will have."""


class Change(NamedTuple):
    """A change of the policy that decides.

    Attributes:
        reason: "promoted" or "rolled back"; "ramped" leaves the champion as it is.
        name: of the policy that decides from now on, or of the challenger that is ramped.
        share: of the traffic that a ramped one decides.
    """

    reason: str
    name: str
    share: float = 0.0


class Contest:
    """Who decides in a folder, and the challengers.

    Attributes:
        champion: name of the policy that decides.
        entries: the others, by name, in the order in which they were given.
        before: name of the champion before, where this one was promoted.
        since: outcomes learned when the champion began to decide.
        ramp: a challenger's name and its share of the traffic.
    """

    def __init__(self, trials: Trials, policies: Sequence[Policy[Any]]) -> None:
        self.trials = trials
        self.policies = dict(zip((GIVEN, *dict(trials.challengers)), policies, strict=True))
        self.champion = GIVEN
        self.entries: dict[str, Entry] = {}
        self.before: str | None = None
        self.since = 0
        self.ramp: tuple[str, float] | None = None
        self.bounds = (0.0, 1.0)
        self.model = ""
        self.shortfalls = Running()  # of the champion's reward below the largest, since it was promoted

    @property
    def policy(self) -> Policy[Any]:
        """The champion."""
        return self.policies[self.champion]

    def enter(self, ledger: Ledger, bounds: tuple[float, float], model: str) -> str:
        """Takes up what the folder knows of the policies, and enters those that are new, from the next outcome on.

        Args:
            ledger: of the folder.
            bounds: the least and the largest reward.
            model: version of the models: with others the judging begins anew.

        Returns:
            The name of a champion that is not among the policies now; "" for none.
        """
        stored: dict[str, Any] = json.loads(ledger.get(ROLES) or "{}")
        start, lost, ramp = ledger.num_rewards(), "", stored.get("ramp") or ("", 0.0)
        self.bounds, self.model = bounds, model
        if stored:
            self.champion, lost = self._champion_of(stored)
        if stored and not lost:
            self.before, self.since = stored["before"] if stored["before"] in self.policies else None, stored["since"]
        terms = {"champion": self.champion, "bounds": list(bounds), "model": model}
        same = bool(stored) and all(stored[name] == value for name, value in terms.items())
        if not same:
            self.since = start
        for name, policy in self.policies.items():
            if name != self.champion:
                known = stored["policies"].get(name, {}) if same else {}
                is_known = bool(known) and not differences(known["part"], policy)
                self.entries[name] = Entry(name, policy, known["start"] if is_known else start)
                if is_known and ramp[0] == name:
                    self.ramp = (name, ramp[1])
        self.write(ledger)
        return lost

    def _champion_of(self, stored: Any) -> tuple[str, str]:
        name = str(stored["champion"])
        part = stored["policies"][name]["part"]
        for candidate in (name, *self.policies):
            if candidate in self.policies and not differences(part, self.policies[candidate]):
                return candidate, ""
        return GIVEN, name

    def write(self, ledger: Ledger) -> None:
        """Keeps the roles."""
        policies = {
            name: {"part": identity(policy), "start": self.entries[name].start if name in self.entries else None}
            for name, policy in self.policies.items()
        }
        roles = {"champion": self.champion, "before": self.before, "since": self.since, "ramp": self.ramp, "bounds": self.bounds}
        ledger.put(ROLES, json.dumps({**roles, "model": self.model, "policies": policies}, sort_keys=True).encode())

    def reread(self, ledger: Ledger) -> None:
        """Takes the roles of the ledger again, after a change that was not written."""
        stored = json.loads(ledger.get(ROLES) or "{}")
        self.close()
        self.champion, self.before, self.since = stored["champion"], stored["before"], stored["since"]
        self.ramp = None if stored["ramp"] is None else tuple(stored["ramp"])
        told = stored["policies"]
        others = {name: policy for name, policy in self.policies.items() if name != self.champion and name in told}
        self.entries = {name: Entry(name, policy, told[name]["start"]) for name, policy in others.items()}

    def renewed(self, model: str) -> Contest:
        """Returns a contest of the same roles by another model; nobody is judged before `begin`."""
        other = Contest(self.trials, list(self.policies.values()))
        other.champion, other.before, other.ramp, other.bounds, other.model = self.champion, self.before, self.ramp, self.bounds, model
        other.since = NEVER
        other.entries = {name: Entry(name, entry.policy, NEVER) for name, entry in self.entries.items()}
        return other

    def follow(self, other: Contest, state: Any) -> Any:
        """Takes the roles of another contest; takes the champion's state, and returns that of the present champion."""
        if self.champion != other.champion:
            state = self.change(Change("promoted", other.champion), state, NEVER)
        self.before, self.ramp = other.before, other.ramp
        return state

    def begin(self, num_learned: int) -> None:
        """Begins to judge anew."""
        self.since, self.shortfalls = num_learned, Running()
        for entry in self.entries.values():
            entry.start, entry.gains = num_learned, Running()

    def start(self, prior: np.ndarray) -> None:
        """Begins at no outcome."""
        self.shortfalls = Running()
        for entry in self.entries.values():
            entry.fresh(prior)

    def judge(self, record: DecisionRecord, reward: RewardRecord) -> None:
        """Judges by a first outcome; a later correction changes what is learned, and not the judgement."""
        if self.before is not None and is_judged(record, reward, self.since):
            self.shortfalls = self.shortfalls.add(1 - share_of(reward.value, self.bounds))
        for entry in self.entries.values():
            entry.judge(record, reward, self.bounds)

    def learn(self, record: DecisionRecord, reward: RewardRecord, earlier: RewardRecord | None = None) -> None:
        """Teaches an outcome to the challengers; `earlier` is what it corrects."""
        for entry in self.entries.values():
            entry.learn(record, reward, earlier)

    def due(self) -> Change | None:
        """Returns the change of the champion that is due by itself."""
        guard, before = self.trials.guard, self.before
        if guard is not None and before is not None and self.shortfalls.is_above(1 - share_of(guard, self.bounds), self.trials.level):
            return Change("rolled back", before)
        proven = [entry for entry in self.entries.values() if self.is_proven(entry)] if self.trials.automatic else []
        return Change("promoted", max(proven, key=lambda entry: entry.gains.low(self.level)).name) if proven else None

    @property
    def level(self) -> float:
        """The level of one challenger: they share the error."""
        return 1 - (1 - self.trials.level) / (len(self.policies) - 1)

    def is_proven(self, entry: Entry) -> bool:
        """Tells whether a challenger may be promoted."""
        return not entry.error and entry.gains.is_above(1.0, self.level)

    def proven(self, name: Any) -> Entry:
        """Returns a challenger that may be promoted.

        Raises:
            InvalidValue: no challenger of this name.
            Unproven: it has not been shown to be better.
        """
        entry = self.entry(name)
        if not self.is_proven(entry):
            stands = self.standing(entry)
            why = f"it raised {entry.error}" if entry.error else f"at least {stands.low:.4g} after {stands.num_rounds} outcomes"
            raise Unproven(f"{name!r} must be shown to be better, its advantage above 0 at level {self.trials.level:g}: {why}.")
        return entry

    def entry(self, name: Any) -> Entry:
        """Returns a challenger.

        Raises:
            InvalidValue: no challenger of this name.
        """
        if name not in self.entries:
            raise InvalidValue(
                f"name must be one of the challengers {tuple(self.entries)}, got {name!r}.{nearest(str(name), self.entries)}"
            )
        return self.entries[name]

    def change(self, change: Change, state: Any, num_learned: int) -> Any:
        """Makes a challenger the champion; takes the champion's state, and returns that of the new one. Judging begins anew."""
        if change.reason == "ramped":
            self.ramp = (change.name, change.share) if change.share else None
            return state
        entry = self.entries.pop(change.name)
        after, entry.state = entry.state, None
        old = Entry(self.champion, self.policy, num_learned)
        old.state = state
        self.before = self.champion if change.reason == "promoted" else None
        self.champion, self.ramp = change.name, None
        entries = self.entries | {old.name: old}
        self.entries = {name: entries[name] for name in self.policies if name in entries}
        self.begin(num_learned)
        return after

    def standing(self, entry: Entry) -> Standing:
        """Returns how a challenger stands."""
        extent, gains = self.bounds[1] - self.bounds[0], entry.gains
        advantage = (gains.total / gains.num_rounds - 1) * extent if gains.num_rounds else 0.0
        share = self.ramp[1] if self.ramp is not None and self.ramp[0] == entry.name else 0.0
        return Standing(entry.name, gains.num_rounds, advantage, (gains.low(self.level) - 1) * extent, share, entry.error)

    def deciding(self, state: Any) -> tuple[Any, Any]:
        """Returns the policy that decides, and its state, where the champion's is `state`."""
        if self.ramp is None or self.entries[self.ramp[0]].error:
            return self.policy, state
        entry = self.entries[self.ramp[0]]
        return Ramped(policies=(self.policy, entry.policy), share=self.ramp[1]), (state, entry.state)

    def keep(self, ledger: Ledger, where: str) -> dict[str, Any]:
        """Writes the challengers' states under a name, and returns the rest as JSON."""
        told = {}
        for entry in self.entries.values():
            if not entry.error:
                ledger.put(f"{where}/challenger/{entry.name}", states.dumps(entry.policy, entry.state))
            told[entry.name] = {"part": identity(entry.policy), "start": entry.start, "gains": entry.gains, "error": entry.error}
        return {"champion": self.champion, "since": self.since, "shortfalls": self.shortfalls, "entries": told}

    def fits(self, stored: Any) -> bool:
        """Tells whether a snapshot is of this champion and of all challengers."""
        if stored is None or (stored["champion"], stored["since"]) != (self.champion, self.since):
            return False
        told = stored["entries"]
        return all(
            name in told and told[name]["start"] == entry.start and not differences(told[name]["part"], entry.policy)
            for name, entry in self.entries.items()
        )

    def restore(self, ledger: Ledger, stored: Any, prior: np.ndarray) -> None:
        """Reads what `keep` wrote.

        Raises:
            LedgerMismatch: a state that is not there.
        """
        self.shortfalls = Running(*stored["shortfalls"])
        for entry in self.entries.values():
            entry.fresh(prior)
            told, template = stored["entries"][entry.name], entry.state
            entry.state, entry.gains, entry.error = None, Running(*told["gains"]), told["error"]
            if not entry.error:
                data = ledger.get(f"snapshot/challenger/{entry.name}")
                if data is None:
                    raise LedgerMismatch(f"The snapshot has no state of the challenger {entry.name!r}.")
                entry.state = states.loads(entry.policy, template, data)
            if template is not None:
                states.close(entry.policy, template)

    def take_base(self, ledger: Ledger, header: dict[str, Any]) -> None:
        """Takes, after `start`, what these challengers had learned by the base, and how they stood, where their roles have stayed."""
        told = header.get("contest", {})
        if (told.get("champion"), told.get("since")) == (self.champion, self.since):
            self.shortfalls = Running(*told["shortfalls"])
        for entry in self.entries.values():
            known, place = told.get("entries", {}).get(entry.name), base.place_of(header, entry.policy)
            if known is not None and known["start"] == entry.start and not differences(known["part"], entry.policy):
                entry.gains, entry.error = Running(*known["gains"]), known["error"]
            template, entry.state = entry.state, None
            if not entry.error:
                entry.state = template if place is None else states.loads(entry.policy, template, ledger.get(place) or b"")
            if template is not None and entry.state is not template:
                states.close(entry.policy, template)

    def held(self) -> list[Any]:
        """Lets go of all that `start` and `learn` change, and returns it."""
        held = [self.shortfalls, *((entry.state, entry.gains, entry.error) for entry in self.entries.values())]
        for entry in self.entries.values():
            entry.state = None
        return held

    def hold(self, held: list[Any]) -> None:
        """Takes back what `held` gave."""
        self.close()
        self.shortfalls = held[0]
        for entry, fields in zip(self.entries.values(), held[1:], strict=True):
            entry.state, entry.gains, entry.error = fields

    def drop(self, held: list[Any]) -> None:
        """Frees what `held` gave."""
        for entry, (state, _, error) in zip(self.entries.values(), held[1:], strict=True):
            if not error:
                states.close(entry.policy, state)

    def written(self) -> list[Any]:
        """Returns all that was learned, as bytes and numbers to compare."""
        told = [
            (entry.name, entry.gains, entry.error, b"" if entry.error else states.dumps(entry.policy, entry.state))
            for entry in self.entries.values()
        ]
        return [self.champion, self.shortfalls, *told]

    def close(self) -> None:
        """Frees what native challengers hold."""
        for entry in self.entries.values():
            entry.close()


def leave(ledger: Ledger, policy: Policy[Any]) -> str:
    """Ends the contest of a folder; returns the name of a champion that is another policy than the one given, or ""."""
    stored = json.loads(ledger.get(ROLES) or "{}")
    if not stored:
        return ""
    ledger.put(ROLES, b"{}")
    return str(stored["champion"]) if differences(stored["policies"][stored["champion"]]["part"], policy) else ""
