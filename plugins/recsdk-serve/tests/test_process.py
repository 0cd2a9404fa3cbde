"""`recsdk serve` as it is run: over a socket, killed and ended."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx2
import pytest
from recsdk_serve import Client, Decide, Keys, Retry, Reward, add_key
from recsdk_serve.commands import serve, serve_key

import recsdk
from recsdk.errors import InvalidValue

WARM = 60.0


@contextlib.contextmanager
def serving(folder, *options, port=0):
    """Runs the command, and yields its process and a client of it."""
    items = folder.parent / "items.jsonl"
    items.write_text("".join(json.dumps({"id": f"item-{number}", "price": float(number)}) + "\n" for number in range(8)))
    command = [sys.executable, "-m", "recsdk", "serve", str(folder), "--port", str(port), "--items", str(items), "--no-access-log"]
    environment = {**os.environ, "RECSDK_FAST": "0"}  # kernels take a second to load
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True, env=environment) as process:  # noqa: S603
        try:
            line = process.stderr.readline()
            address = re.search(r"http://\S+:\d+", line)
            assert address, line + process.stderr.read()
            threading.Thread(target=process.stderr.read, daemon=True).start()
            with httpx2.Client(base_url=address.group(), timeout=WARM) as client:
                yield process, client
        finally:
            process.kill()


def new(folder):
    return folder, "--policy", "lin-ts", "--scorer", "popularity", "--reward-range", "0", "1"


def visit(client, name):
    slate = client.post("/v1/decide", json={"decision_id": name, "user": "ann"})
    assert slate.status_code == 200, slate.text
    reward = client.post("/v1/reward", json={"decision_id": name, "value": 1.0})
    assert reward.json() == {"new": True}


def test_no_acknowledged_reward_is_lost_by_a_kill(tmp_path):
    folder, acknowledged = tmp_path / "shop", []

    def visits(client, number):
        with contextlib.suppress(httpx2.TransportError):
            for turn in range(10_000):
                visit(client, f"{number}-{turn}")
                acknowledged.append(f"{number}-{turn}")

    with serving(*new(folder)) as (process, client):
        visit(client, "first")
        threads = [threading.Thread(target=visits, args=(client, number)) for number in range(3)]
        for thread in threads:
            thread.start()
        while len(acknowledged) < 30 and any(thread.is_alive() for thread in threads):
            time.sleep(0.01)
        assert len(acknowledged) >= 30
        process.send_signal(signal.SIGKILL)
        for thread in threads:
            thread.join()
    with serving(folder) as (_, client):  # with the parts that the folder has
        acknowledged.append("first")
        for start in range(0, len(acknowledged), 500):
            rewards = [{"decision_id": name, "value": 1.0} for name in acknowledged[start : start + 500]]
            results = client.post("/v1/reward:batch", json={"rewards": rewards}).json()["results"]
            assert results == [{"new": False, "problem": None}] * len(rewards)
        assert client.get("/v1/models").json()["policy"].startswith("WithFloor(policy=lin-ts(")


def test_a_client_goes_on_through_a_kill_and_each_of_its_visits_counts_once(tmp_path):
    folder, done = tmp_path / "shop", []

    def visits(address):
        with Client(address, retry=Retry(within=WARM, first=0.05, longest=0.2)) as client:
            for number in range(60):
                slate = client.decide(Decide(user=f"user-{number}"))
                client.reward(Reward(decision_id=slate.decision_id, value=1.0))
                done.append(slate.decision_id)

    with serving(*new(folder)) as (process, client):
        port = client.base_url.port
        visitor = threading.Thread(target=visits, args=[str(client.base_url)])
        visitor.start()
        while len(done) < 20 and visitor.is_alive():
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with serving(folder, port=port):
        visitor.join(WARM)
    with recsdk.Recommender.open(folder, policy="lin-ts", scorers=["popularity"]) as shop:
        assert (len(done), len(set(done)), shop.num_learned) == (60, 60, 60)
        assert [shop.reward(name, 1.0) for name in done] == [False] * 60
        assert sum(shop.forget(f"user-{number}").num_decisions for number in range(0, 60, 12)) == 5
        assert shop.audit()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])  # noqa: S104 -- it is refused
def test_without_keys_no_other_machine_is_served(tmp_path, host):
    with pytest.raises(InvalidValue, match=r"host must be 127\.0\.0\.1 where there are no keys"):
        serve(tmp_path / "shop", host=host)
    assert not (tmp_path / "shop").exists()


def test_the_folder_is_closed_well_before_who_stops_the_service_kills_it(tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: found.append(self.config.timeout_graceful_shutdown))
    with pytest.raises(SystemExit):
        serve(tmp_path / "shop", port=0, policy="lin-ts")
    assert 0 < found[0] <= 5


def test_keys_are_made_and_revoked_by_a_command(tmp_path, capsys):
    serve_key(tmp_path / "keys.json", "web", scope=["decide"])
    key = capsys.readouterr().out.strip()
    assert Keys(tmp_path / "keys.json").client(key).name == "web"
    serve_key(tmp_path / "keys.json", "web", revoke=True)
    assert Keys(tmp_path / "keys.json").client(key) is None


LIES = [
    ["content-length: 5", "transfer-encoding: chunked"],
    ["content-length: -1"],
    ["content-length: 2, 3"],
    ["content-length: 1e3"],
    ["transfer-encoding: chunked, chunked"],
]


@contextlib.contextmanager
def guarded(folder):
    """Runs a service with keys, and yields its process and a client that has one."""
    key = add_key(folder / "keys.json", "web", ["decide", "reward", "admin"])
    with serving(*new(folder / "shop"), "--keys", str(folder / "keys.json")) as (process, client):
        assert client.get("/v2/health/ready").json() == {"ready": True}
        assert client.post("/v1/decide", json={}).status_code == 401
        client.headers["authorization"] = f"Bearer {key}"
        yield process, client


@pytest.fixture(scope="module")
def shared_client(tmp_path_factory):
    with guarded(tmp_path_factory.mktemp("guarded")) as (_, client):
        yield client


@pytest.mark.parametrize("lines", LIES)
def test_lies_about_the_length_get_nothing_done(shared_client, lines):
    client = shared_client
    client.post("/v1/decide", json={"user": "ann"})
    key = client.headers["authorization"]
    head = ["POST /v1/forget HTTP/1.1", "host: x", f"authorization: {key}", "content-type: application/json", *lines, "connection: close"]
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=WARM) as lying:
        lying.sendall("\r\n".join([*head, "", '{"user": "ann"}']).encode())
        first = lying.recv(1_000).split(b"\r\n")[0]
    assert first == b"" or b" 4" in first
    assert client.post("/v1/forget", json={"user": "ann"}).json()["report"]["num_decisions"] == 1


def test_calls_under_way_are_answered_at_sigterm_and_the_folder_is_closed(tmp_path):
    with guarded(tmp_path) as (process, client):
        before, streaming = client.get("/v1/models").json()["num_learned"], threading.Event()
        visit(client, "first")

        def stream():
            with client.stream("GET", "/v1/events/slates", params={"user": "ann"}) as events:
                for _ in events.iter_lines():
                    streaming.set()

        follower = threading.Thread(target=stream)
        follower.start()
        assert streaming.wait(WARM)
        body = b'{"decision_id": "last", "size": 3}'
        head = [f"POST /v1/decide HTTP/1.1\r\nhost: x\r\nauthorization: {client.headers['authorization']}", f"content-length: {len(body)}"]
        with socket.create_connection((client.base_url.host, client.base_url.port), timeout=WARM) as asking:
            asking.sendall("\r\n".join([*head, "content-type: application/json", "expect: 100-continue", "", ""]).encode())
            assert asking.recv(1_000).startswith(b"HTTP/1.1 100 ")  # the call is under way
            process.send_signal(signal.SIGTERM)
            follower.join(WARM)  # streams end, and calls do not
            assert not follower.is_alive()
            asking.sendall(body)
            assert b" 200 " in asking.recv(1_000).split(b"\r\n")[0]
        assert process.wait(WARM) in (0, -signal.SIGTERM)
    with recsdk.Recommender.open(tmp_path / "shop", policy="lin-ts", scorers=["popularity"]) as shop:
        assert shop.num_learned == before + 1
        assert shop.reward("last", 1.0, position=2)
        assert shop.audit()


KIOSK = """
import recsdk
from recsdk_serve import make_app

items = [{"id": "tea"}, {"id": "coffee"}]
app = make_app(lambda observer: recsdk.Recommender.open("kiosk", items=items, policy="lin-ts", observer=observer))
"""


def test_an_application_of_uvicorn_ends_at_sigterm_though_a_stream_is_open(tmp_path):
    (tmp_path / "kiosk.py").write_text(KIOSK)
    command, environment = [sys.executable, "-m", "uvicorn", "kiosk:app", "--port", "0"], {**os.environ, "RECSDK_FAST": "0"}
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=environment) as process:  # noqa: S603
        try:
            address = next(found.group() for line in process.stderr if (found := re.search(r"http://\S+:\d+", line)))
            with httpx2.Client(base_url=address, timeout=WARM) as client, client.stream("GET", "/v1/events/slates?user=ann") as events:
                lines = events.iter_lines()  # kept, or the stream would be closed
                assert next(lines)
                process.send_signal(signal.SIGTERM)
                assert process.wait(WARM / 2) in (0, -signal.SIGTERM)
        finally:
            process.kill()
    with recsdk.Recommender.open(tmp_path / "kiosk", policy="lin-ts") as shop:  # it was released
        assert shop.audit()
