"""`recsdk demo`: the live loop in a simulated shop with known truth, and an evaluation from a real log."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recsdk.base import Interaction, Policy
from recsdk.demo.live import Clock, open_learner, play_most_popular, play_uniform, serve
from recsdk.demo.world import EXAMINED, Shop
from recsdk.live.log import read_ledger
from recsdk.policies.wrappers import ByColumn

LEARNER = "lin-ts discounted, two-tower"
VISITS, QUICK_VISITS = 12_000, 1_500


def run(out: Path, *, quick: bool = False) -> dict[str, Any]:
    """Runs the demo with a progress bar on standard error and writes `report.html` to `out`.

    Args:
        out: folder for the report; made when missing.
        quick: simulates an eighth of the visits, enough to see that it works.

    Returns:
        The figures of the tables, ready for JSON.

    Raises:
        MissingExtra: without `recsdk[deep,report]`.
    """
    from recsdk.demo.report import require_plots, write_report

    require_plots()
    started = time.perf_counter()
    shop = Shop(num_visits=QUICK_VISITS if quick else VISITS)
    with tempfile.TemporaryDirectory() as folder, _progress(3 * shop.num_visits) as advance:
        loop = _loop(Path(folder), shop, advance)
        summary = {"visits": shop.num_visits, **loop, "open_bandit": _open_bandit()}
    summary["seconds"] = round(time.perf_counter() - started, 1)
    write_report(out, summary)
    summary["report"] = str(out / "report.html")
    return {name: value for name, value in summary.items() if name != "rewards"}


def _loop(folder: Path, shop: Shop, advance: Callable[[str], Callable[[int], None]]) -> dict[str, Any]:
    learner_folder, clock = folder / "learner", Clock()
    last = _serve_until_killed(learner_folder, shop, advance("learn, in a process that is killed half-way"))
    with open_learner(learner_folder, shop, clock) as learner:
        recovery = _recovery(learner, last)
        serve(learner, shop, range(last + 1, shop.num_visits), clock, advance("recovered, goes on"))
    log = read_ledger(learner_folder)
    rewards = {
        LEARNER: log.reward,
        "most popular": play_most_popular(shop, advance("most popular")),
        "uniform": play_uniform(shop, advance("uniform")),
    }
    return {
        "turn": shop.turn,
        "loop": [{"policy": name, **_mean(values)} for name, values in rewards.items()],
        "recovery": recovery,
        "evaluation": _evaluation(log, shop),
        "rewards": {name: values.tolist() for name, values in rewards.items()},
    }


def _serve_until_killed(folder: Path, shop: Shop, done: Callable[[int], None]) -> int:
    """Serves visits in a child process and kills it with SIGKILL where the season turns; returns the last visit that it acknowledged."""
    command = [sys.executable, "-c", f"from recsdk.demo.live import serve_aloud; serve_aloud({str(folder)!r}, {shop.num_visits})"]
    last = -1
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603 -- our own module
        assert child.stdout is not None  # noqa: S101 -- PIPE was asked for
        for line in child.stdout:
            last = int(line)
            done(last)
            if last == shop.turn:
                os.kill(child.pid, signal.SIGKILL)
    if last < shop.turn:
        raise RuntimeError(f"The live loop ended by itself after visit {last}; it should have been killed after visit {shop.turn}.")
    return last


def _recovery(learner: Any, last: int) -> dict[str, Any]:
    acknowledged = (last + 1) * len(EXAMINED)
    return {
        "killed_after_visit": last,
        "acknowledged_rewards": acknowledged,
        "recovered_rewards": learner.num_learned,
        "same_state": learner.audit(),
    }


def _mean(values: np.ndarray) -> dict[str, float]:
    stderr = float(values.std(ddof=1) / np.sqrt(len(values)))
    value = float(values.mean())
    return {"reward": value, "low": value - 1.96 * stderr, "high": value + 1.96 * stderr}


def _evaluation(log: Interaction, shop: Shop) -> list[dict[str, Any]]:
    """Estimates from the learner's log what other policies would have earned in these visits, and computes the truth from the shop.

    The truth is that of the choices which a policy makes in the learner's visits, having learned from the learner's log up to each. A
    policy that serves the shop by itself learns from its own choices, and earns something else.
    """
    from recsdk import EpsilonGreedy, LinUCB, Uniform, ope, replay

    q_hat = ope.fit_reward_model(log).q_hat
    truth = np.array([shop.mean(visit)[items] for visit, items in enumerate(log.context.item)])
    truth = np.where(log.context.mask, truth, 0.0)
    targets: dict[str, Policy[Any]] = {
        "uniform over the candidates": Uniform(),
        "epsilon-greedy": EpsilonGreedy(),
        "lin-ucb": LinUCB(),
        "the deep score alone": ByColumn(column=0),
        "most popular candidate": ByColumn(column=1),
    }
    rows = []
    for name, policy in targets.items():
        probs = replay(policy, log, learn_from="all", engine="numpy").decision.probs  # one use each: not worth compiling
        found = ope.evaluate(log, probs, q_hat=q_hat, force=True)
        estimates = {key: estimate._asdict() for key, estimate in found.estimates.items()}
        row = {"policy": name, "truth": float((probs * truth).sum(axis=1).mean()), **estimates}
        rows.append({**row, "effective_size": found.diagnostics.effective_size, "verdict": found.verdict, "reasons": list(found.reasons)})
    return rows


def _open_bandit() -> dict[str, Any]:
    """Estimates from a random policy's real log what Bernoulli Thompson sampling earns; its own log says what it did earn."""
    from recsdk import ope
    from recsdk.datasets import bernoulli_ts_probs, load_open_bandit

    log, position = load_open_bandit("random")
    found = ope.evaluate(log, bernoulli_ts_probs(position), estimators=("ips", "snips", "dr"))
    on_policy = load_open_bandit("bts", num_hashed=0).log.reward
    return {
        "rounds": len(log.reward),
        "clicks": int(log.reward.sum()),
        "logging_policy": _mean(log.reward),
        "on_policy": _mean(on_policy),
        **{key: estimate._asdict() for key, estimate in found.estimates.items()},
        "effective_size": found.diagnostics.effective_size,
        "verdict": found.verdict,
        "reasons": list(found.reasons),
    }


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[str], Callable[[int], None]]]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("train the encoder", total=total)

        def advance(description: str) -> Callable[[int], None]:
            return lambda visit: progress.update(task, advance=1, description=description)

        yield advance
