"""A stream that is consumed: each message counts once, poison goes to the dead letters, and the state is a function of the stream."""

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from recsdk_streams import Consumer, FileSink, FileSource, Message, StreamError, consume, messages
from recsdk_streams.consumer import TRIES

import recsdk
from recsdk.errors import InvalidAnswer, InvalidValue, LedgerError, LedgerLocked
from recsdk.ledger.stores import store
from recsdk.live.reproduce import reproduce

NOW = 1_700_000_000.0
FEEDBACK = recsdk.Feedback(window=60, start=-5, signals={"click": 1, "buy": 5}, late=0.5)
POISON = [
    b"not json",
    b'{"kind": "signal", "name": "click", "decision_id": "d1", "value": NaN}',
    b'{"kind": "signal", "name": "click", "decision_id": "d1", "value": 1e400}',
    b'{"kind": "order", "decision_id": "d1"}',
    b'{"kind": "shown", "decision_id": "d1", "size": 3}',
    b'{"kind": "decide", "request": {}}',
    b'{"kind": "signal", "name": "stare", "decision_id": "d1", "at": 1700000000}',
    b'{"kind": "decide", "decision_id": "d1", "request": {"price": [1, 2]}, "at": 1700000000}',
    b'{"kind": "shown", "decision_id": "d1", "at": 1700000000000}',
    b"[" * 10_000,
    b"\xff\xfe",
    b"",
]


def opened(folder):
    """Opens the shop; its policy and its scorers learn, and its windows close, by the stream's time."""
    items = [{"id": f"i{number}", "price": float(number)} for number in range(8)]
    return recsdk.Recommender.open(
        folder, items=items, policy="lin-ts", scorers=["popularity", "recency"], feedback=FEEDBACK, snapshot_every=50, remember=2
    )


def visits(num, seed=0):
    """Returns messages of `num` visits, a second apart."""
    rng, found, waiting, poison = random.Random(seed), [], [], itertools.cycle(POISON)

    def say(at, kind, **fields):
        found.append(json.dumps({"kind": kind, "at": at, **fields}).encode())

    for number in range(num):
        now = NOW + number
        for due, told in [one for one in waiting if one[0] <= now]:
            waiting.remove((due, told))
            say(now, "signal", **told)
        user = f"u{number % 7}"
        size = rng.randint(1, 3)
        say(now, "decide", decision_id=f"d{number}", request={"user_id": user}, size=size)
        if rng.random() < 0.6:
            told = {"name": rng.choice(["click", "buy"]), "decision_id": f"d{number}", "position": rng.randrange(size)}
            waiting.append((now + rng.choice([0.5, 20, 70]), told))
            if rng.random() < 0.3:
                waiting.append((now + 2, told))  # told again
        if number % 8 == 3:
            found.append(next(poison))
        if rng.random() < 0.05:
            say(now, "signal", name="click", decision_id=f"nobody{number}", position=0, time=now - 100)
        if rng.random() < 0.03:
            say(now, "decide", decision_id=f"d{number}", request={"user_id": user}, size=size + 1)  # in conflict
        if number % 40 == 39:
            say(now, "add_items", rows=[{"id": f"new{number}", "price": 1.0}])
            say(now, "remove_items", ids=[f"i{number // 40 % 8}"])
    return found


def consumer_files(folder):
    """Returns the source and the sinks of a folder."""
    return FileSource(folder / "in.jsonl"), FileSink(folder / "out.jsonl"), FileSink(folder / "dead.jsonl")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def outcome(folder):
    """Returns all that must be the same, whatever happened to the process: the state, the log, and what was sent, each once."""
    found = reproduce(folder / "shop")
    assert found.agreement in ("same", "no snapshot")
    with contextlib.closing(store(folder / "shop").read(folder / "shop")) as ledger:
        decisions = [(record.decision_id, record.time, record.slots.tolist(), record.probs.tolist()) for record in ledger.decisions()]
        log = decisions, list(ledger.signals()), list(ledger.rewards())
        place = [ledger.get(name) for name in sorted(ledger.names()) if name.startswith(("fed/", "outbox/"))]
    slates = {slate["decision_id"]: slate for slate in lines(folder / "out.jsonl")}
    dead = {letter["offset"]: (letter["reason"], letter["message"]) for letter in lines(folder / "dead.jsonl")}
    return found.state, found.num_learned, log, slates, dead, place


@contextlib.contextmanager
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", recsdk.errors.IgnoredInput)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a new shop and a stream, and what becomes of it where nothing goes wrong."""
    folder = tmp_path_factory.mktemp("made")
    with quiet():
        opened(folder / "shop").close()
        (folder / "in.jsonl").write_bytes(b"".join(line + b"\n" for line in visits(120)))
        shutil.copytree(folder, folder / "whole")
        with opened(folder / "whole" / "shop") as shop:
            consumed = consume(shop, *consumer_files(folder / "whole"), to_end=True)
            assert shop.audit()
    return folder, outcome(folder / "whole"), consumed


@pytest.fixture
def folder(made, tmp_path):
    shutil.copytree(made[0] / "shop", tmp_path / "shop")
    shutil.copy(made[0] / "in.jsonl", tmp_path)
    return tmp_path


def test_requests_are_answered_signals_are_learned_and_poison_is_dead(made):
    folder, (_, num_learned, (decisions, signals, _), slates, dead, place), consumed = made
    messages = (folder / "in.jsonl").read_bytes().splitlines()
    assert consumed.num_messages == len(messages)
    assert [slate[0] for slate in decisions] == list(slates) == [f"d{number}" for number in range(120)]
    assert consumed.num_slates == 120
    assert consumed.num_dead == len(dead) == sum(line not in known_good(messages) for line in messages)
    assert sum(consumed[1:]) == len(messages)
    assert consumed.num_duplicates > 10
    assert num_learned > 110
    assert len(signals) > 45
    assert place[1] == b""
    reasons = {reason.split(":")[0] for reason, _ in dead.values()}
    assert reasons == {"InvalidRequest", "InvalidValue", "DecisionConflict", "unknown"}


def known_good(messages):
    """Returns the messages that must count: neither poison, nor of nobody, nor in conflict."""
    first = {}
    good = set()
    for line in messages:
        if line in POISON:
            continue
        told = json.loads(line)
        if told["kind"] == "decide" and first.setdefault(told["decision_id"], told["size"]) != told["size"]:
            continue
        if not told.get("decision_id", "").startswith("nobody"):
            good.add(line)
    return good


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_the_state_does_not_depend_on_the_blocks(made, folder, block):
    with quiet(), opened(folder / "shop") as shop:
        consume(shop, *consumer_files(folder), block=block, to_end=True)
    assert outcome(folder) == made[1]


def test_a_consumer_that_is_closed_and_opened_goes_on(made, folder):
    while True:
        with quiet(), opened(folder / "shop") as shop:
            consumer = Consumer(shop, *consumer_files(folder), block=100)
            num = consumer.step(wait=0.0)
            consumer.finish()
            if not num:
                break
    assert outcome(folder) == made[1]


class Away:
    """A sink whose broker is away at times: before it has taken anything, or after."""

    def __init__(self, sink, rng):
        self.sink, self.rng = sink, rng

    def send(self, letters):
        if self.rng.random() < 0.3:
            raise StreamError("away")
        self.sink.send(letters[: len(letters) // 2 if self.rng.random() < 0.3 else None])
        if self.rng.random() < 0.3:
            raise StreamError("away")
        self.sink.send(letters)


def test_what_could_not_be_sent_is_sent_again(made, folder):
    rng = random.Random(0)
    source, sink, dead = consumer_files(folder)
    consumer, failures, num = None, 0, 1
    with quiet(), opened(folder / "shop") as shop:
        while num:
            try:
                consumer = consumer or Consumer(shop, source, Away(sink, rng), Away(dead, rng), block=20)
                num = consumer.step(wait=0.0)
            except StreamError:
                failures += 1
                consumer = None if rng.random() < 0.5 else consumer
        with contextlib.suppress(StreamError):
            consumer.finish()
        Consumer(shop, source, sink, dead).finish()
    assert failures > 5
    assert outcome(folder) == made[1]


def test_a_message_that_ends_the_process_again_and_again_is_dead_in_the_end(made, folder, monkeypatch):
    with quiet(), opened(folder / "shop") as shop:
        feed, is_dead = shop.feed, False

        def crashing(self, stream, calls, place):
            nonlocal is_dead
            is_dead = is_dead or any(call.arguments.get("decision_id") == "d50" and call.method == "recommend" for call in calls)
            if is_dead:  # nothing is written any more
                raise MemoryError
            return feed(stream, calls, place)

        monkeypatch.setattr(type(shop), "feed", crashing)
        num, crashes = 1, 0
        while num:
            is_dead = False
            consumer = Consumer(shop, *consumer_files(folder), block=40)
            with contextlib.suppress(MemoryError):
                while num:
                    num = consumer.step(wait=0.0)
            crashes += num > 0
            assert crashes < 50
    dead = [
        letter for letter in lines(folder / "dead.jsonl") if '"decision_id": "d50"' in letter["message"] and "alone" in letter["reason"]
    ]
    assert len(dead) >= 1
    assert "fed alone 5 times" in dead[0]["reason"]
    sent = {slate["decision_id"] for slate in lines(folder / "out.jsonl")}
    assert sent == {f"d{number}" for number in range(120)} - {"d50"}
    assert crashes >= 2 * TRIES


@pytest.mark.parametrize("error", [LedgerError("no room"), InvalidAnswer("no distribution"), KeyboardInterrupt()], ids=repr)
def test_what_is_no_messages_fault_kills_no_message(made, folder, monkeypatch, error):
    with quiet(), opened(folder / "shop") as shop:
        feed, failures = shop.feed, 0

        def failing(self, stream, calls, place):
            nonlocal failures
            if calls and failures < 6 * TRIES:
                failures += 1
                raise error
            return feed(stream, calls, place)

        monkeypatch.setattr(type(shop), "feed", failing)
        consumer, num, rng = None, 1, random.Random(0)
        while num:
            try:
                consumer = consumer or Consumer(shop, *consumer_files(folder), block=40)
                num = consumer.step(wait=0.0)
            except type(error):
                consumer = None if rng.random() < 0.5 else consumer
        consumer.finish()
        monkeypatch.undo()
    assert failures == 6 * TRIES
    assert outcome(folder) == made[1]


def test_what_fails_after_a_block_is_durable_neither_feeds_it_again_nor_loses_what_it_sends(made, folder, monkeypatch):
    with quiet(), opened(folder / "shop") as shop:
        feed, rng, failures = shop.feed, random.Random(0), 0

        def failing(self, stream, calls, place):
            nonlocal failures
            answers = feed(stream, calls, place)
            if calls and rng.random() < 0.5:
                failures += 1
                raise OSError("too late")
            return answers

        with monkeypatch.context() as patch:
            patch.setattr(type(shop), "feed", failing)
            consumer, num = Consumer(shop, *consumer_files(folder), block=20), 1
            while num:
                with contextlib.suppress(OSError):
                    num = consumer.step(wait=0.0)
        consumer.finish()
    assert failures > 3
    assert outcome(folder) == made[1]


def test_time_is_the_streams_and_never_goes_back(folder):
    told = [{"kind": "decide", "decision_id": f"t{number}", "request": {}, "at": NOW + at} for number, at in enumerate((0, 50, 20, 61))]
    (folder / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in told))
    for _ in told:
        with quiet(), opened(folder / "shop") as shop:
            Consumer(shop, *consumer_files(folder), block=1).step(wait=0.0)
    with opened(folder / "shop") as shop:
        assert [record.time - NOW for record in shop._loop.ledger.decisions()] == [0, 50, 50, 61]
        assert shop.num_learned == 1  # of the first: its window has closed


def test_a_second_process_is_kept_out(folder):
    with opened(folder / "shop"), pytest.raises(LedgerLocked):
        opened(folder / "shop")


@pytest.mark.parametrize("data", [b"\0" * 2_000_000, b"\xff" * 2_000_000, "\u00e9".encode() * 1_000_000])
def test_a_dead_letter_is_no_longer_than_a_broker_takes(data):
    letter = messages.dead(Message("1", data, 0.0), "s", "\U0001f600" * 10_000)
    assert len(letter.data) <= 512 * 1024
    assert len(json.loads(letter.data)["reason"]) == messages.MOST_REASON + 4


def test_a_value_of_any_length_makes_a_short_reason(folder):
    long = "x" * 500_000
    told = [
        {"kind": "decide", "decision_id": "t0", "request": {}, "at": NOW},
        {"kind": "decide", "decision_id": "t1", "request": {}, "user": "", "at": NOW},
        {"kind": "signal", "name": "click", "decision_id": "t0", "item": long, "at": NOW},
        {"kind": "signal", "name": long, "decision_id": "t0", "at": NOW},
    ]
    (folder / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in told))
    with quiet(), opened(folder / "shop") as shop:
        assert consume(shop, *consumer_files(folder), to_end=True).num_dead == 3
    assert all(len(letter["reason"]) < 500 for letter in lines(folder / "dead.jsonl"))


def test_a_block_must_be_a_number(folder):
    with opened(folder / "shop") as shop, pytest.raises(InvalidValue, match="block must be a whole number >= 1"):
        Consumer(shop, *consumer_files(folder), block=0)


class Killing:
    """A sink that kills its process at the `when`-th sending: before it, in the middle of a line, or after it."""

    def __init__(self, path, where, when):
        self.path, self.sink, self.where, self.left = path, FileSink(path), where, when

    def send(self, letters):
        self.left -= 1
        if self.left == 0:
            if self.where == "within":
                with self.path.open("ab") as file:
                    file.write(letters[0].data + b"\n" + letters[-1].data[:-5])
            elif self.where == "after":
                self.sink.send(letters)
            os.kill(os.getpid(), signal.SIGKILL)
        self.sink.send(letters)


def run(folder, where="never", when=0, after=None):
    """Consumes in another process, which is killed; returns its exit status."""
    words = [sys.executable, __file__, str(folder), where, str(when)]
    with (folder / "errors").open("ab") as errors:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors)  # noqa: S603 - our own code
        try:
            if after is not None:
                process.stdout.readline()  # it is ready
                time.sleep(after)
                process.kill()
            return process.wait(timeout=200)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def kill(folder, kills, seed):
    """Kills consumers of a stream, and lets the last one finish; returns how many were killed before they were done."""
    rng, killed = random.Random(seed), 0
    for number in range(kills):
        if number % 2:
            killed += run(folder, after=rng.random() * 0.5) == -signal.SIGKILL
        else:
            killed += run(folder, rng.choice(["before", "within", "after"]), rng.randint(1, 4)) == -signal.SIGKILL
    assert run(folder) == 0, (folder / "errors").read_text()[-2000:]
    return killed


def test_killed_a_consumer_goes_on_as_if_nothing_had_been(made, folder):
    assert kill(folder, 1, seed=0) == 1
    assert outcome(folder) == made[1]


def test_the_command_consumes_until_it_is_told_to_stop(tmp_path):
    with recsdk.Recommender.open(tmp_path / "shop", items=[{"id": "tea"}, {"id": "milk"}], policy="lin-ts", feedback=FEEDBACK):
        pass
    told = [{"kind": "decide", "decision_id": f"t{number}", "request": {}, "at": NOW + 100 * number} for number in range(3)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in told) + "poison\n")
    words = [
        sys.executable,
        "-m",
        "recsdk",
        "consume",
        "shop",
        "--from",
        "in.jsonl",
        "--to",
        "$OUT.jsonl",
        "--dead",
        "dead.jsonl",
        "--json",
    ]
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, env={**os.environ, "OUT": "out"})  # noqa: S603
    deadline = time.monotonic() + 200
    while not lines(tmp_path / "dead.jsonl") and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=200)
    assert process.returncode == 0
    assert json.loads(out) == {"num_messages": 4, "num_slates": 3, "num_taken": 0, "num_duplicates": 0, "num_dead": 1}
    assert [slate["decision_id"] for slate in lines(tmp_path / "out.jsonl")] == ["t0", "t1", "t2"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_fifty_times_a_consumer_goes_on_as_if_nothing_had_been(tmp_path):
    with quiet():
        opened(tmp_path / "shop").close()
        (tmp_path / "in.jsonl").write_bytes(b"".join(line + b"\n" for line in visits(2000)))
        shutil.copytree(tmp_path, tmp_path / "whole")
    assert run(tmp_path / "whole") == 0
    assert kill(tmp_path, 50, seed=1) >= 10  # a quick machine is done before some of them
    assert outcome(tmp_path) == outcome(tmp_path / "whole")


def main(folder, where, when):
    source, _, dead = consumer_files(folder)
    with quiet(), opened(folder / "shop") as shop:
        print("ready", flush=True)
        consume(shop, source, Killing(folder / "out.jsonl", where, when), dead, block=10, to_end=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
