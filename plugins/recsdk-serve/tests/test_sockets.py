"""The streams over a WebSocket, by a client of another make on the real server."""

import asyncio
import contextlib
import json
import logging
import threading
import time

import httpx2
import pytest
from recsdk_serve import Keys, Limits, add_key, events, revoke_key, sockets
from recsdk_serve.events import MESSAGES, Hub

from recsdk.ledger.stores import store
from recsdk.live.observe import Decided

connecting = pytest.importorskip("websockets.sync.client")
from websockets.exceptions import ConnectionClosed  # noqa: E402 -- only where it is installed

WAIT = 30
ANN, ALL = {"stream": "slates", "user": "ann", "size": 2}, {"stream": "decisions"}
AGAIN = ALL | {"last": "other-7"}
"""Of another start: it is told so, and has subscribed by then."""


@contextlib.contextmanager
def follow(address, *asked, headers=None, origin=None):
    """Opens a WebSocket, and sends what is asked for."""
    url = address.replace("http://", "ws://") + "/v1/ws"
    with connecting.connect(url, additional_headers=headers, origin=origin, open_timeout=WAIT, close_timeout=WAIT) as socket:
        for each in asked:
            socket.send(each if isinstance(each, str | bytes) else json.dumps(each))
        yield socket


def told(socket, *kinds):
    """Returns the next event, which is of one of these kinds."""
    event = json.loads(socket.recv(timeout=WAIT))
    assert event["event"] in kinds, event
    assert set(event) == {"event", "id", "data"}
    return event


def closed(socket):
    """Returns the code with which the service closes, and the problem that it has told."""
    problem = None
    for text in iter(lambda: received(socket), None):
        event = json.loads(text)
        problem = event["data"] if event["event"] == "problem" else problem
    return socket.close_code, problem


def received(socket):
    try:
        return socket.recv(timeout=WAIT)
    except ConnectionClosed:
        return None


@pytest.fixture
def shop(address):
    with httpx2.Client(base_url=address, timeout=WAIT) as client:
        yield client


def test_a_reward_and_a_new_item_bring_a_fresh_slate(address, shop):
    with follow(address, ANN) as socket:
        first = told(socket, "slate")
        assert (first["id"], len(first["data"]["ids"])) == (first["data"]["decision_id"], 2)
        name = shop.post("/v1/decide", json={"user": "ann"}).json()["decision_id"]
        shop.post("/v1/reward", json={"decision_id": name, "value": 1.0})
        second = told(socket, "slate")
        shop.post("/v1/items", json={"items": [{"id": "fresh", "price": 1.0}]})
        assert len({first["id"], second["id"], told(socket, "slate")["id"]}) == 3
        assert shop.post("/v1/shown", json={"decision_id": second["id"]}).json() == {"receipt": "taken"}


def test_a_slate_that_is_pushed_is_of_the_request_of_its_user(served, tmp_path):
    def mine(request, items):
        return [float(request["user_id"] == "ann" and request["hour"] == 7) for _ in items.ids]

    address = served(scorers=[mine])
    with follow(address, ANN | {"request": {"hour": 7}}) as socket:
        told(socket, "slate")
    stored = store(tmp_path / "shop").read(tmp_path / "shop")
    with contextlib.closing(stored):
        (record,) = [record for record in stored.decisions() if record.user == "ann"]
    assert json.loads(record.payload)["request"] == {"user_id": "ann", "hour": 7}


def test_one_who_comes_back_misses_nothing_and_gets_nothing_twice(address, shop):
    with follow(address, AGAIN) as socket:
        assert told(socket, "dropped")["data"] == {"num": -1}
        shop.post("/v1/decide", json={"decision_id": "visit-1"})
        last = told(socket, "decided")
        assert last["data"]["decision_id"] == "visit-1"
    for number in (2, 3):
        shop.post("/v1/decide", json={"decision_id": f"visit-{number}"})
    with follow(address, ALL | {"last": last["id"]}) as socket:
        assert [told(socket, "decided")["data"]["decision_id"] for _ in range(2)] == ["visit-2", "visit-3"]


WRONG = [
    ("?", 4400, None),
    (b"{}", 4400, None),
    ('{"stream": "decisions", "stream": "decisions"}', 4400, None),
    ('{"stream": "slates", "user": "ann", "size": NaN}', 4400, None),
    ("[" * 10_000, 4400, None),
    ({}, 4422, None),
    ({"stream": "metrics"}, 4422, "stream"),
    ({"stream": "slates"}, 4422, None),
    (ANN | {"user": ""}, 4422, "user"),
    (ANN | {"size": 101}, 4422, "size"),
    (ANN | {"request": {"user_id": "bob"}}, 4422, "request.user_id"),
    (ANN | {"request": {"user_id": None}}, 4422, "request.user_id"),
    (ALL | {"user": "ann"}, 4422, None),
    (ALL | {"last": "x" * 300_000}, 4413, None),
]


def test_what_is_no_subscription_is_refused_with_its_problem_and_code(address):
    for asked, code, field in WRONG:
        with follow(address, asked) as socket:
            got, problem = closed(socket)
            assert (got, problem["field"]) == (code, field), (str(asked)[:80], problem)


def test_one_who_says_nothing_or_too_much_is_sent_away(served):
    address = served(limits=Limits(seconds=0.2, subscribers=1))
    with follow(address) as socket:
        assert closed(socket)[0] == 4408
    with follow(address, ANN) as socket:
        told(socket, "slate")
        with follow(address, ALL) as other:
            assert closed(other)[0] == 4429
        socket.send(json.dumps(ALL))
        assert closed(socket)[0] == 4400
    ending = time.monotonic() + WAIT
    while time.monotonic() < ending:  # who has left makes room
        with follow(address, AGAIN) as socket:
            if json.loads(socket.recv(timeout=WAIT))["event"] == "dropped":
                break
    else:
        pytest.fail("no room")


def test_a_key_in_the_first_message_or_a_header_lets_in_where_its_scope_says(tmp_path, served):
    file = tmp_path / "keys.json"
    web, ops = add_key(file, "web", ["decide"]), add_key(file, "ops", ["read"])
    address = served(keys=Keys(file))
    for asked, headers, code in (
        (ANN, {}, 4401),
        (ANN | {"key": "recsdk_x_y"}, {}, 4401),
        (ANN | {"key": "\u20ac"}, {"authorization": f"Bearer {web}"}, 4401),
        (ANN | {"key": ops}, {}, 4403),
        (ALL | {"key": web}, {"authorization": f"Bearer {ops}"}, 4403),
    ):
        with follow(address, asked, headers=headers) as socket:
            assert closed(socket)[0] == code, asked
    with follow(address, AGAIN, headers={"authorization": f"Bearer {ops}"}) as socket:
        told(socket, "dropped")
    with follow(address, ANN | {"key": web}, origin="https://shop.example") as socket:
        told(socket, "slate")
        revoke_key(file, "web")
        headers = {"authorization": f"Bearer {add_key(file, 'shop', ['items'])}"}
        added = httpx2.post(f"{address}/v1/items", json={"items": [{"id": "fresh", "price": 1.0}]}, headers=headers, timeout=WAIT)
        assert added.status_code == 200  # which would bring a slate
        assert closed(socket)[0] == 4401


@pytest.mark.parametrize(("headers", "origin"), [({}, "https://evil.example"), ({}, "null"), ({"sec-fetch-site": "cross-site"}, None)])
def test_without_keys_a_page_of_another_site_gets_no_stream(address, headers, origin):
    with follow(address, ANN, headers=headers, origin=origin) as socket:
        assert closed(socket)[0] == 4403


def test_the_stream_of_a_user_who_is_forgotten_is_over_and_all_end_with_the_service(served):
    is_stopping = threading.Event()
    address = served(is_stopping=is_stopping.is_set)
    with follow(address, ANN) as of_ann, follow(address, ANN | {"user": "bob"}) as of_bob:
        told(of_ann, "slate")
        told(of_bob, "slate")
        httpx2.post(f"{address}/v1/forget", json={"user": "ann"}, timeout=WAIT)
        assert closed(of_ann)[0] == 1000
        is_stopping.set()
        assert closed(of_bob)[0] == 1001


def test_a_number_of_a_user_is_the_user_and_the_connection_has_its_line_in_the_log(address, caplog):
    with caplog.at_level(logging.INFO, "recsdk_serve.access"):
        with follow(address, ANN | {"user": "7", "request": {"user_id": 7}}) as socket:
            told(socket, "slate")
        with follow(address, ANN | {"user": "7", "request": {"user_id": "a-secret-user"}}) as socket:
            assert closed(socket)[0] == 4422
        ending = time.monotonic() + WAIT
        while len(caplog.records) < 2 and time.monotonic() < ending:
            time.sleep(0.001)
    lines = [json.loads(record.message) for record in caplog.records]
    assert sorted((line["operation"], line["status"], line.get("error")) for line in lines) == [
        ("slates", 200, None),
        ("slates", 422, "WrongType"),
    ]
    assert "a-secret" not in caplog.text


def test_one_who_does_not_read_is_sent_away(monkeypatch):
    monkeypatch.setattr(events, "PATIENCE", 0.05)

    async def run():
        with pytest.raises(events.Unread):
            await sockets._send(Slow(), Hub(Limits()).decisions("other-7", MESSAGES))

    asyncio.run(asyncio.wait_for(run(), WAIT))


class Slow:
    """A client that reads when it is told to."""

    def __init__(self):
        self.may_read, self.read = asyncio.Event(), []

    async def send_text(self, text):
        await self.may_read.wait()
        self.read.append(json.loads(text))


def test_a_slow_client_loses_the_oldest_and_is_told_how_many(monkeypatch):
    monkeypatch.setattr(events, "BEHIND", 4)

    async def run():
        hub, slow = Hub(Limits()), Slow()
        stream = hub.decisions("", MESSAGES)
        sending = asyncio.create_task(sockets._send(slow, stream))
        for number in range(10):
            await asyncio.sleep(0.01)
            hub.notice(Decided(f"visit-{number}", None, num_candidates=8, size=1, seconds=0.001))
        await asyncio.sleep(0.01)
        assert len(next(iter(hub._dashboards.values()))) == 4
        slow.may_read.set()
        while len(slow.read) < 6:
            await asyncio.sleep(0.001)
        sending.cancel()
        return slow.read

    found = asyncio.run(asyncio.wait_for(run(), WAIT))
    assert [event["event"] for event in found] == ["decided", "dropped", *["decided"] * 4]
    assert found[1]["data"] == {"num": 5}
