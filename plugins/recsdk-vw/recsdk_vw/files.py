"""Logs as Vowpal Wabbit's own files: written once, then replayed by its driver and from its cache.

The folder of a log holds parts of VW's input, as many lines each as a state learns between two of its saved models (see
`recsdk_vw.learner`), so that what the driver learns is bit for bit what the same policy learns event by event.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recsdk.base import Context, Interaction
from recsdk.checks import check_log
from recsdk.errors import InvalidLog, InvalidValue, RecsdkError
from recsdk_vw import examples, learner
from recsdk_vw.examples import Candidates
from recsdk_vw.learner import Learner
from recsdk_vw.policy import VW

ASKED = ("regcb", "rnd")
"""Of these VW's driver prints something else than the distribution before learning, so their rounds are written as a question as well."""

LABELLED = '{"_label_cost"'


class FileReplay(NamedTuple):
    """A policy's decisions on a log that VW's driver went through, learning from every round.

    Attributes:
        state: the policy's state after the last round, as from `recsdk.replay(policy, log)`.
        probs: f64[T, K], the distribution over the candidates in each round before it learned from that round: a target for `recsdk.ope`.
            VW prints six decimals, so each is off by up to 1e-6.
        average_loss: f64[], progressive validation: the inverse-propensity estimate of the cost, minus the reward, per round under `probs`.
    """

    state: Learner
    probs: np.ndarray
    average_loss: float


class Rounds(NamedTuple):
    """The parts of T rounds of up to K candidates that VW's input does not have.

    Attributes:
        place: i64[T, K], index into the context of each candidate in VW's order; -1 is padding.
        group: i64[T, K], first candidate in VW's order with the same features; -1 is padding.
        action: i64[T], index into the context.
        reward: f64[T].
        propensity: f64[T].
        weight: f64[T].
    """

    place: np.ndarray
    group: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    propensity: np.ndarray
    weight: np.ndarray


def write_log(policy: VW, log: Interaction, folder: str | Path) -> None:
    """Writes a log as VW's input, for `replay_log` of this policy and of others that see the same features and take the same rewards.

    Args:
        policy: says how features are written; squarecb, regcb and rnd need folders of their own, since VW reads other lines for them.
        log: an interaction with a leading T.
        folder: to be made, all or nothing; it must not be there.

    Raises:
        EmptyLog, InvalidLog: a log without rows, with one that the policy refuses, by its number, or with no weight above 0.
        InvalidValue: when the folder is there.
    """
    check_log(log)
    if not log.weight.any():
        raise InvalidLog("weight must be above 0 in one row at least, got 0 in all.")
    folder = Path(folder)
    if folder.exists():
        raise InvalidValue(f"folder must be new, got {str(folder)!r}.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch, "log")
        made.mkdir()
        num_parts, rounds = _write_parts(policy, log, made)
        np.savez(made / "rounds.npz", **rounds._asdict())
        sizes = [_part(made, number).stat().st_size for number in range(num_parts)]
        form = {**_form(policy), "dim": log.context.features.shape[-1], "sizes": sizes}
        (made / "form.json").write_text(json.dumps(form))
        made.rename(folder)


def replay_log(policy: VW, folder: str | Path) -> FileReplay:
    """Runs VW's driver over a log that `write_log` wrote; again with the same `bits` and `options`, it reads from VW's cache.

    Raises:
        InvalidValue: a policy that would write the log otherwise, or declares a range without some of its rewards.
        InvalidLog: a folder that does not hold what was written.
    """
    folder = Path(folder)
    form, rounds = _read(folder)
    dim, num_parts = form.pop("dim"), len(form.pop("sizes"))
    if form != _form(policy):
        raise InvalidValue(f"policy must write rounds like those in {str(folder)!r}, as {form}, got one that writes {_form(policy)}.")
    low, high = rounds.reward.min(), rounds.reward.max()
    if not policy.min_reward <= low <= high <= policy.max_reward:
        raise InvalidValue(f"policy must declare a range of rewards that holds the log's, [{low}, {high}], got {policy}.")
    first = policy.init(np.zeros(dim))
    model, printed = first.model, []
    first.close()
    for number in range(num_parts):
        before = model
        model, text = _drive(policy, before, _part(folder, number))
        printed.append(text)
    lines = [line for line in _part(folder, num_parts - 1).read_text().splitlines() if line.startswith(LABELLED)]
    answers = [line for line in "".join(printed).split("\n") if line]
    if form["asks"]:
        answers = _asked(answers, rounds)
    probs = _probs(answers, rounds, folder)
    return FileReplay(Learner(policy.settings, dim, model=before, lines=lines), probs, _average_loss(probs, rounds))


def _write_parts(policy: VW, log: Interaction, folder: Path) -> tuple[int, Rounds]:
    """Writes VW's input, in parts that end where a state learning the same rounds would save its model."""
    contexts, dim = log.context, log.context.features.shape[-1]
    place = np.full(contexts.mask.shape, -1)
    group = place.copy()
    number = num_characters = 0
    file = _part(folder, number).open("w")
    try:
        for row in range(len(place)):
            one = Interaction(Context(*(array[row] for array in contexts)), *(array[row] for array in log[1:]))
            shown, line = _round(policy, one, dim, row)
            place[row, : len(shown.places)] = shown.places
            group[row, : len(shown.places)] = [shown.rows.index(candidate) for candidate in shown.rows]
            if one.weight > 0 and learner.is_full(num_characters):
                file.close()
                number, num_characters = number + 1, 0
                file = _part(folder, number).open("w")
            num_characters += len(line) * (one.weight > 0)
            if one.weight > 0 and policy.exploration in ASKED:
                file.write(f"{examples.question(shown.rows)}\n")
            file.write(f"{line}\n")
    finally:
        file.close()
    return number + 1, Rounds(place, group, *log[1:])


def _round(policy: VW, one: Interaction, dim: int, row: int) -> tuple[Candidates, str]:
    try:
        examples.refuse(policy, one)
        shown = policy.candidates(one.context, dim)
    except RecsdkError as error:
        raise InvalidLog(f"row {row}: {error}") from error
    return shown, examples.lesson(policy, shown, one) if one.weight > 0 else examples.question(shown.rows)


def _form(policy: VW) -> dict[str, Any]:
    """Returns what a policy's lines depend on, as it is read back from JSON."""
    form = {
        "layout": policy.settings.layout,
        "has_propensities": policy.exploration not in examples.UNWEIGHTED,
        "asks": policy.exploration in ASKED,
    }
    return json.loads(json.dumps(form))  # type: ignore[no-any-return]


def _read(folder: Path) -> tuple[dict[str, Any], Rounds]:
    try:
        form = json.loads((folder / "form.json").read_text())
        for number, size in enumerate(form["sizes"]):  # VW itself would learn from what is there
            if (found := _part(folder, number).stat().st_size) != size:
                raise ValueError(f"part {number} has {found} bytes of {size}")
        with np.load(folder / "rounds.npz", allow_pickle=False) as stored:
            return form, Rounds(**stored)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InvalidLog(f"folder must be one that write_log made, got {str(folder)!r}: {error}.") from error


def _part(folder: Path, number: int) -> Path:
    return folder / f"{number:04}.dsjson"


def _drive(policy: VW, model: bytes, part: Path) -> tuple[bytes, str]:
    """Returns the model after a part of the log, and what VW printed of its predictions."""
    key = hashlib.sha256(f"{policy.bits} {policy.options}".encode()).hexdigest()[:12]  # the cache holds hashed and parsed features
    with tempfile.TemporaryDirectory() as scratch:
        printed = Path(scratch, "predictions")
        more = ["--data", str(part), "--predictions", str(printed)]
        if policy.exploration != "rnd":  # its random targets are functions of hashes that the cache cuts off
            more += ["--cache_file", str(part.with_suffix(f".{key}.cache"))]
        workspace = learner.open_workspace(policy.settings.arguments, policy.seed, model, more=more)
        after = learner.model_of(workspace)
        workspace.finish()
        return after, printed.read_text()


def _asked(answers: list[str], rounds: Rounds) -> list[str]:
    """Leaves out the answers to what was learned right after it was asked."""
    asked = np.zeros(len(rounds.weight), np.int64)
    asked[1:] = (1 + (rounds.weight > 0)).cumsum()[:-1]
    return [answers[line] for line in asked.tolist() if line < len(answers)]


def _probs(lines: list[str], rounds: Rounds, folder: Path) -> np.ndarray:
    """Reads what VW printed: `action:probability,...` for each round, with the candidates in VW's order from 0, likeliest first."""
    counts = (rounds.place >= 0).sum(axis=1)
    if [line.count(":") for line in lines] != counts.tolist():
        raise InvalidLog(f"folder must hold the {len(counts)} rounds that write_log wrote, got {len(lines)} in {str(folder)!r}.")
    pairs = np.fromstring(",".join(lines).replace(":", ","), sep=",").reshape(-1, 2)
    row, num_places = np.repeat(np.arange(len(counts)), counts), rounds.place.shape[1]
    candidate = pairs[:, 0].astype(np.int64)
    shared = row * num_places + rounds.group[row, candidate]  # identical candidates share their mass
    mass = np.bincount(shared, pairs[:, 1])[shared] / np.bincount(shared)[shared]
    probs = np.zeros(rounds.place.shape)
    probs[row, rounds.place[row, candidate]] = mass
    probs /= probs.sum(axis=1, keepdims=True)
    return probs


def _average_loss(probs: np.ndarray, rounds: Rounds) -> float:
    ratio = probs[np.arange(len(probs)), rounds.action] / rounds.propensity
    return float(-(rounds.weight * ratio * rounds.reward).sum() / rounds.weight.sum())
