"""Real processes, killed: the shop's, and the server's. What was acknowledged is kept, and counts once."""

import contextlib
import random
import subprocess
import sys
import time

import pytest
from recsdk_postgres import Postgres

import recsdk
from recsdk.errors import LedgerLocked

ITEMS = [{"id": "tea"}, {"id": "coffee"}, {"id": "milk"}]


def open_shop(conninfo, folder, durability):
    """Opens the shop, which takes a snapshot after every fifth reward."""
    ledger = Postgres(conninfo=conninfo, durability=durability)
    return recsdk.Recommender.open(folder, items=ITEMS, policy="lin-ts", scorers=["popularity"], snapshot_every=5, ledger=ledger)


def serve(shop, first, tell):
    """Decides and rewards for ever, from a number on, and tells what was acknowledged."""
    for number in range(first, 1_000_000):
        slate = shop.recommend({"user_id": f"u{number % 3}"}, decision_id=f"d{number}")
        tell(f"d{number} {slate.ids[0]} {slate.propensities[0]!r}")
        shop.reward(slate.decision_id, number % 2)
        tell(f"r{number}")


@contextlib.contextmanager
def served(folder, server, durability, first):
    """Serves in another process until the end of the block, where it is killed; gives the file of what it acknowledged."""
    folder.mkdir(exist_ok=True)
    told = folder / "told"
    with told.open("ab") as file, (folder / "errors").open("ab") as errors:
        words = [sys.executable, __file__, server.conninfo, str(folder / "shop"), durability, str(first)]
        process = subprocess.Popen(words, stdout=file, stderr=errors)  # noqa: S603 - our own code
        try:
            wanted, deadline = told.read_bytes().count(b"\n") + 2, time.monotonic() + 200  # a decision and its reward
            while told.read_bytes().count(b"\n") < wanted and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.005)
            assert told.read_bytes().count(b"\n") >= wanted, f"{process.poll()} {(folder / 'errors').read_text()[-2000:]}"
            yield told
        finally:
            process.kill()
            process.wait()


def whole_lines(told):
    return [line.split() for line in told.read_text().splitlines(keepends=True) if line.endswith("\n")]


def assert_kept(shop, told):
    """All that was acknowledged is there as it was told, at most one call more, and the state is its fold; returns where to go on."""
    lines = whole_lines(told)
    decisions = {words[0]: words[1:] for words in lines if words[0][0] == "d"}
    rewarded = {f"d{words[0][1:]}" for words in lines if words[0][0] == "r"}
    for name, (item, propensity) in decisions.items():
        record = shop._loop.ledger.decision(name)
        assert shop.catalogue.items.ids[record.slots[record.action[0]]] == item
        assert record.probs[0, record.action[0]] == float(propensity)
    names = [reward.decision_id for reward in shop._loop.ledger.rewards()]
    assert rewarded <= set(names)
    assert len(names) == len(set(names)) <= len(rewarded) + 1
    assert len(decisions) <= len(list(shop._loop.ledger.decisions())) <= len(decisions) + 1
    assert shop.num_learned == len(names)
    assert shop.audit()
    last = len(rewarded)
    assert not (last and shop.reward(f"d{last - 1}", (last - 1) % 2))  # told again, it counts once
    return last


def kill_the_shop(server, folder, durability, times):
    rng, first = random.Random(durability), 0
    for _ in range(times):
        with served(folder, server, durability, first) as told:
            time.sleep(0.4 * rng.random())
            with pytest.raises(LedgerLocked, match="is open by 'recsdk, process"):
                open_shop(server.conninfo, folder / "shop", durability)
        with open_shop(server.conninfo, folder / "shop", durability) as shop:
            first = assert_kept(shop, told)
    assert first >= times, (folder / "errors").read_text()


def kill_the_server(server, folder, times):
    rng, first = random.Random(0), 0
    for _ in range(times):
        with served(folder, server, "power-loss", first) as told:
            time.sleep(0.2 * rng.random())
            server.kill()
            time.sleep(0.1)  # the shop goes on for a while, and acknowledges nothing
        server.start()
        with open_shop(server.conninfo, folder / "shop", "power-loss") as shop:
            first = assert_kept(shop, told)
    assert first >= times
    assert "LedgerStopped" in (folder / "errors").read_text()


@pytest.mark.parametrize(("durability", "times"), [("process-crash", 2), ("power-loss", 1)])
def test_a_shop_that_is_killed_loses_and_repeats_nothing(server, tmp_path, durability, times):
    kill_the_shop(server, tmp_path, durability, times)


def test_when_the_server_is_killed_nothing_that_was_acknowledged_at_power_loss_is_lost(server, tmp_path):
    kill_the_server(server, tmp_path, 1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_thirty_times_a_shop_loses_and_repeats_nothing(server, tmp_path):
    for durability in ("process-crash", "power-loss"):
        kill_the_shop(server, tmp_path / durability, durability, 15)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_with_a_server_that_is_killed_twenty_times_nothing_that_was_acknowledged_at_power_loss_is_lost(server, tmp_path):
    kill_the_server(server, tmp_path, 20)


if __name__ == "__main__":
    conninfo, folder, durability, first = sys.argv[1:]
    serve(open_shop(conninfo, folder, durability), int(first), lambda line: print(line, flush=True))
