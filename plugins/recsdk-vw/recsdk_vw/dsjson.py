"""Decision-service logs: one JSON object a line, as Vowpal Wabbit, its reinforcement-learning client and their joiners write them.

    {"_label_cost":-1,"_label_probability":0.5,"_label_Action":2,"_labelIndex":1,"a":[2,1],"p":[0.5,0.5],"pdrop":0.9,"EventId":"e1",
     "c":{"User":{"age":"young"},"_multi":[{"_tag":"tea","i":{"hot":1}},{"_tag":"ice","i":{"cold":1}}]}}

A line is one decision over the candidates in `c._multi`. With `_outcomes` it is a page, with one decision for each of `c._slots`: of
conditional contextual bandits (each slot has its own cost, over the candidates that are left, or `_inc`) or of slates (candidates belong
to slots, and the page has one cost). The reward is minus the cost, the weight 1 / (1 - pdrop).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from recsdk.arrays import stack_rounds
from recsdk.base import Context, Interaction
from recsdk.checks import check_log, require_integer
from recsdk.datasets.files import byte_lines
from recsdk.errors import EmptyLog, InvalidLog, InvalidValue, one_of
from recsdk_vw.decisions import TOLERANCE, Choice, choices, is_slate, number
from recsdk_vw.encoding import Encoding, Hashing
from recsdk_vw.events import CHECKPOINT, parsed, reason_to_skip, text_of


class DecisionLog(NamedTuple):
    """A decision-service log; T decisions.

    Attributes:
        log: the decisions in the order of the file; of a page, from its first slot on, with the candidates shown above masked. The
            slot of a candidate in `context.item` is its index in `names`.
        names: the candidates' `_tag`, or "#0", "#1", ... by their places where they have none.
        event_id: object[T] of str, "" where a line has none.
        position: i64[T], slot of the decision; 0 where a line is one decision.
        line: i64[T], from 1. Decisions of one line are one page, and not independent.
        num_skipped: lines left out, the sum of `skipped`.
        num_bad: lines left out since they could not be read, at most `max_bad`.
        skipped: lines left out since they hold no decision that was shown, by reason: "_skipLearn", "_deferred", "checkpoint",
            "reward alone" (a reward without its decision).
        num_repeated: lines in which candidates have one `_tag`: they are one item at several places.
        num_slates: lines whose slots share one reward.
        num_pinned: slots left out since the application had fixed their item, as `"_pinned": true` says: nothing was drawn there.
    """

    log: Interaction
    names: tuple[str, ...]
    event_id: np.ndarray
    position: np.ndarray
    line: np.ndarray
    num_skipped: int
    num_bad: int
    skipped: Mapping[str, int] = {}
    num_repeated: int = 0
    num_slates: int = 0
    num_pinned: int = 0


def read_dsjson(
    path: str | Path,
    *,
    encoding: Encoding = Hashing(),  # noqa: B008  (a frozen value)
    max_bad: int = 0,
    position: int | None = None,
    repeated: Literal["share", "refuse"] = "share",
) -> DecisionLog:
    """Reads a decision-service log, gzipped if the name ends in .gz. Rows with fewer candidates than others are padded.

    Evaluate pages by one `position` at a time: the decisions of a page are not independent rounds. From the second slot of a conditional
    bandit on, the value found is the one given what the logging policy showed above.

    Args:
        path: the file.
        encoding: turns a candidate's JSON into its features: `Hashing(...)`, `Numbers()`, or a function of your own. A name that an object
            has more than once comes as a `Several`.
        max_bad: lines that may be unreadable; they are left out and counted.
        position: reads the decisions at this slot only, from 0; None reads all. Slates must have one, since their slots share one reward.
        repeated: what to do with a line in which candidates have one `_tag`: "share" counts it, and they are one item at several places;
            "refuse" takes it for a bad line.

    Raises:
        EmptyLog: no decisions.
        InvalidLog: more than `max_bad` lines that are not JSON, have no label, or one that does not go with their candidates or with their
            own `a` and `p`; naming the line. Also a file that is not whole gzip.
        InvalidValue: slates without a position.
    """
    require_integer("max_bad", max_bad, at_least=0)
    if position is not None:
        require_integer("position", position, at_least=0)
    path = Path(path)
    skipped: Counter[str] = Counter()
    rows: list[Interaction] = []
    where: list[tuple[str, int, int]] = []
    names: dict[str, int] = {}
    num_bad = num_repeated = num_slates = num_pinned = 0
    one_of("repeated", repeated, ("share", "refuse"))
    for line_number, line in _lines(path):
        if line.startswith(CHECKPOINT):
            skipped["checkpoint"] += 1
            continue
        try:
            event = parsed(line)
            if reason := reason_to_skip(event):
                skipped[reason] += 1
                continue
            wanted = [(place, choice) for place, choice in enumerate(choices(event)) if position in (None, place)]
            found = [(place, choice) for place, choice in wanted if choice.slot.get("_pinned") is not True]
            tags, event_id = _names(event), text_of("EventId", event.get("EventId"))
            same = _repeated(event, tags)
            if same and repeated == "refuse":
                raise InvalidLog(f"_tag must be another for each candidate, got {same!r} twice.")
            decisions = _rows(event, [choice for _, choice in found], encoding, len(rows[0].context.features[0]) if rows else None)
        except InvalidLog as error:
            num_bad += 1
            if num_bad > max_bad:
                raise InvalidLog(f"{path}, line {line_number}: {error} Lines that are bad: {num_bad}, max_bad is {max_bad}.") from error
            continue
        num_slates += is_slate(event)
        num_pinned += len(wanted) - len(found)
        if position is None and num_slates:
            raise InvalidValue(f"position must be given for {path}, line {line_number}: the slots of a slate share one reward, got None.")
        num_repeated += bool(same)
        item = np.array([names.setdefault(name, len(names)) for name in tags])
        rows += [row._replace(context=row.context._replace(item=item)) for row in decisions]
        where += [(event_id, place, line_number) for place, _ in found]
    if not rows:
        raise EmptyLog(f"{path} must have at least one decision, got none ({_counted(skipped)}, {num_bad} bad).")
    event_ids, places, lines = (np.array(column) for column in zip(*where, strict=True))
    ids = event_ids.astype(object)
    return DecisionLog(
        stack_rounds(rows), tuple(names), ids, places, lines, skipped.total(), num_bad, dict(skipped), num_repeated, num_slates, num_pinned
    )


def write_dsjson(path: str | Path, log: Interaction, *, probs: Any = None, names: Sequence[str] | None = None) -> None:
    """Writes a log as decision-service JSON, which VW and `read_dsjson(path, encoding=Numbers())` read: features as a list under `f`.

    Args:
        path: the file, written anew.
        log: an interaction with a leading T.
        probs: f64[T, K], the logging policy's distributions; without it the lines have no `p`, only the choice's propensity.
        names: the candidates' `_tag` by catalogue slot; by default the slot's number.

    Raises:
        EmptyLog, InvalidLog: a log without rows, or with a bad one, by its number; also a weight below 1, which `pdrop` cannot say, and
            probs that are not the propensity at the chosen candidate.
    """
    check_log(log)
    if (log.weight < 1).any():
        row = int((log.weight < 1).argmax())
        raise InvalidLog(f"weight must be at least 1 to be written as 1 / (1 - pdrop), got {log.weight[row]} in row {row}.")
    if probs is not None:
        chosen = np.asarray(probs)[np.arange(len(log.action)), log.action]
        wrong = ~(abs(chosen - log.propensity) <= TOLERANCE * log.propensity)
        if wrong.any():
            row = int(wrong.argmax())
            raise InvalidLog(f"probs must be the propensity {log.propensity[row]} at the chosen candidate, got {chosen[row]} in row {row}.")
    with Path(path).open("w", encoding="utf-8") as file:
        for row in range(len(log.action)):
            line = _line(log, row, None if probs is None else probs[row], names)
            file.write(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n")


def _line(log: Interaction, row: int, probs: Any, names: Sequence[str] | None) -> dict[str, Any]:
    places = np.flatnonzero(log.context.mask[row]).tolist()
    chosen = places.index(int(log.action[row]))
    others = [index for index in range(len(places)) if index != chosen]
    label = {"_label_cost": -float(log.reward[row]), "_label_probability": float(log.propensity[row])}
    line: dict[str, Any] = {**label, "_label_Action": chosen + 1, "_labelIndex": chosen}
    if probs is not None:
        others.sort(key=lambda index: -probs[places[index]])
        line["p"] = [float(probs[places[index]]) for index in (chosen, *others)]
    line["a"] = [index + 1 for index in (chosen, *others)]  # without it VW leaves out the line
    if log.weight[row] != 1:
        line["pdrop"] = 1 - 1 / float(log.weight[row])
    slots = log.context.item[row].tolist()
    tags = [str(slots[place]) if names is None else names[slots[place]] for place in places]
    features = log.context.features[row].tolist()
    line["c"] = {"_multi": [{"_tag": tag, "f": features[place]} for tag, place in zip(tags, places, strict=True)]}
    return line


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    return ((line_number, line) for line_number, line in enumerate(byte_lines(path), start=1) if line.strip())


def _counted(skipped: Counter[str]) -> str:
    reasons = ", ".join(f"{number} {reason}" for reason, number in skipped.items())
    return f"{skipped.total()} lines skipped" + f": {reasons}" * bool(reasons)


def _names(event: Mapping[str, Any]) -> list[str]:
    return [text_of("_tag", candidate.get("_tag")) or f"#{place}" for place, candidate in enumerate(event["c"]["_multi"])]


def _repeated(event: Mapping[str, Any], names: list[str]) -> str:
    """Returns a name that two candidates of one slot have, or ""."""
    keys = [(name, repr(candidate.get("_slot_id"))) for name, candidate in zip(names, event["c"]["_multi"], strict=True)]
    return "" if len(set(keys)) == len(keys) else next(key for key in keys if keys.count(key) > 1)[0]


def _rows(event: Mapping[str, Any], found: Iterable[Choice], encoding: Encoding, dim: int | None) -> list[Interaction]:
    """Returns a line's decisions; `dim` is the number of features of the lines before, if any."""
    shared = {key: value for key, value in event["c"].items() if not key.startswith("_")}
    candidates = event["c"]["_multi"]
    weight = 1 / (1 - number(event, "pdrop", lambda pdrop: 0 <= pdrop < 1, " in [0, 1)", default=0.0))
    rows = []
    for choice in found:
        encoded = {place: encoding(shared, candidates[place], choice.slot) for place in choice.available}
        dim = len(encoded[choice.action]) if dim is None else dim
        if any(row.shape != (dim,) or not np.isfinite(row).all() for row in encoded.values()):
            raise InvalidLog(f"features must be {dim} finite numbers for each candidate, got {list(encoded.values())!r:.200}.")
        features, mask = np.zeros((len(candidates), dim)), np.zeros(len(candidates), bool)
        for place, row in encoded.items():
            features[place], mask[place] = row, True
        context = Context(features, mask, np.arange(len(candidates)))
        rows.append(Interaction(context, choice.action, 0.0 - choice.cost, choice.propensity, weight))
    return rows
