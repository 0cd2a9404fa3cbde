"""Streams: what is told to whom, and what becomes of those who are slow or come back."""

import asyncio
import json
import logging
import time

import httpx2
import pytest
from recsdk_serve import Limits, events, streams
from recsdk_serve.app import Front
from recsdk_serve.events import Hub
from recsdk_serve.guard import Refused
from recsdk_serve.messages import Slate
from recsdk_serve.streams import Stream

from recsdk.errors import EmptyCandidates
from recsdk.live.observe import Corrected, Decided, Rewarded


def decided(number, user=None):
    return Decided(f"visit-{number}", user, num_candidates=8, size=1, seconds=0.001)


def read(text):
    """Returns the id, the kind and the data of an event."""
    fields = dict(line.split(": ", 1) for line in text.strip().splitlines() if not line.startswith(":"))
    return fields.get("id"), fields.get("event"), json.loads(fields.get("data", "null"))


async def following(stream, num):
    """Returns the next events of a stream that are no comments."""
    found = []
    while len(found) < num:
        text = await asyncio.wait_for(anext(stream), 5)
        if not text.startswith(":"):
            found.append(read(text))
    return found


async def begun(hub, last=""):
    stream = hub.decisions(last)
    while not (await asyncio.wait_for(anext(stream), 5)).startswith(":"):
        pass
    return stream


def test_a_dashboard_gets_what_happens_in_order():
    async def run():
        hub = Hub(Limits())
        stream = await begun(hub)
        hub.notice(decided(1, "ann"))
        hub.notice(Rewarded("visit-1", num_new=1, total=0.5))
        (_, first, data), (_, second, _) = await following(stream, 2)
        assert (first, second) == ("decided", "rewarded")
        assert (data["decision_id"], data["user"]) == ("visit-1", "ann")

    asyncio.run(run())


def test_one_who_comes_back_misses_nothing_and_gets_nothing_twice():
    async def run():
        hub = Hub(Limits())
        stream = await begun(hub)
        for number in range(3):
            hub.notice(decided(number))
        last = (await following(stream, 2))[-1][0]
        await stream.aclose()
        hub.notice(decided(3))
        await asyncio.sleep(0)
        again = await following(hub.decisions(last), 2)
        assert [data["decision_id"] for _, _, data in again] == ["visit-2", "visit-3"]

    asyncio.run(run())


def test_a_slow_dashboard_loses_the_oldest_and_is_told_how_many(monkeypatch):
    monkeypatch.setattr(events, "BEHIND", 4)

    async def run():
        hub = Hub(Limits())
        stream = await begun(hub)
        for number in range(10):
            hub.notice(decided(number))
        await asyncio.sleep(0)
        found = await following(stream, 5)
        assert found[0] == (None, "dropped", {"num": 6})
        assert [data["decision_id"] for _, _, data in found[1:]] == [f"visit-{number}" for number in range(6, 10)]

    asyncio.run(run())


def test_one_who_comes_back_too_late_is_told_what_is_missing(monkeypatch):
    monkeypatch.setattr(events, "KEPT", 2)

    async def run():
        hub = Hub(Limits())
        stream = await begun(hub)
        hub.notice(decided(0))
        ((last, _, _),) = await following(stream, 1)
        for number in range(1, 6):
            hub.notice(decided(number))
        await asyncio.sleep(0)
        found = await following(hub.decisions(last), 2)
        assert found[0] == (None, "dropped", {"num": 3})
        assert found[1][2]["decision_id"] == "visit-4"

    asyncio.run(run())


@pytest.mark.parametrize("last", ["x", "other-5", "-", "0-" + "9" * 50])
def test_one_who_comes_from_another_start_is_told_so(last):
    async def run():
        assert await following(Hub(Limits()).decisions(last), 1) == [(None, "dropped", {"num": -1})]

    asyncio.run(run())


def made(num):
    """Returns a function that decides, and what it has decided."""
    found = []

    async def decide():
        found.append(Slate(decision_id=f"slate-{len(found)}", ids=("a",), propensities=(1.0,)))
        return found[-1]

    return decide, found


def test_a_user_gets_a_slate_at_once_and_a_fresh_one_for_new_evidence():
    async def run():
        hub, (decide, _) = Hub(Limits()), made(0)
        hub.notice(decided(1, "ann"))
        hub.notice(decided(2, "bob"))
        stream = hub.slates("ann", decide)
        assert (await following(stream, 1))[0][:2] == ("slate-0", "slate")
        for evidence, fresh in (
            ({"decision_id": "visit-2"}, False),
            ({"decision_id": "visit-1"}, True),
            ({"user": "ann"}, True),
            ({}, True),
        ):
            hub.evidence(**evidence)
            there = asyncio.ensure_future(anext(stream))
            done, _ = await asyncio.wait([there], timeout=5 if fresh else 0.05)
            assert bool(done) == fresh, evidence
            if not fresh:
                hub.evidence(user="ann")
                await there

    asyncio.run(run())


def test_one_slate_answers_all_the_evidence_that_came_meanwhile():
    async def run():
        hub, (decide, slates) = Hub(Limits()), made(0)
        stream = hub.slates("ann", decide)
        await following(stream, 1)
        for _ in range(100):
            hub.evidence(user="ann")
        await following(stream, 1)
        there = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.05)
        assert not there.done()
        assert len(slates) == 2
        there.cancel()

    asyncio.run(run())


def test_one_who_comes_back_gets_all_that_is_kept_and_nothing_twice(monkeypatch):
    monkeypatch.setattr(events, "BEHIND", 2)

    async def run():
        hub = Hub(Limits())
        stream = await begun(hub)
        for number in range(6):
            hub.notice(decided(number))
        ((first, _, _),) = [event for event in await following(stream, 2) if event[0]][:1]
        await stream.aclose()
        last = f"{first.partition('-')[0]}-1"
        again = hub.decisions(last)
        assert await anext(again) == ":\n\n"
        hub.notice(decided(6))
        hub.notice(decided(7))
        await asyncio.sleep(0)
        assert [data["decision_id"] for _, _, data in await following(again, 7)] == [f"visit-{number}" for number in range(1, 8)]
        await again.aclose()

    asyncio.run(run())


def test_what_happens_while_one_of_another_start_is_told_so_comes_once():
    async def run():
        hub = Hub(Limits())
        stream = hub.decisions("other-5")
        assert read(await anext(stream))[1] == "dropped"
        hub.notice(decided(0))
        await asyncio.sleep(0)
        assert await anext(stream) == ":\n\n"
        hub.notice(decided(1))
        await asyncio.sleep(0)
        assert [data["decision_id"] for _, _, data in await following(stream, 2)] == ["visit-0", "visit-1"]
        await stream.aclose()

    asyncio.run(run())


def test_of_a_user_who_is_forgotten_nothing_is_kept_told_or_streamed():
    async def run():
        hub, (decide, slates) = Hub(Limits()), made(0)
        dashboard, of_ann, of_bob = await begun(hub), hub.slates("ann", decide), hub.slates("bob", decide)
        await following(of_ann, 1)
        await following(of_bob, 1)
        for number, user in enumerate(["bob", "ann", "bob"]):
            hub.notice(decided(number, user))
        hub.notice(Rewarded("visit-1", num_new=1, total=1.0, user="ann"))
        hub.notice(Rewarded("visit-2", num_new=1, total=1.0, user="bob"))
        await asyncio.sleep(0)
        hub.forget("ann")
        assert "ann" not in repr(vars(hub))
        assert "visit-1" not in repr(vars(hub))
        told = [data["decision_id"] for name, _, data in await following(dashboard, 5) if name]
        assert told == ["visit-0", "visit-2", "visit-2"]  # and twice that one is missing
        assert [text async for text in of_ann] == []
        hub.evidence(user="bob")
        assert len(await following(of_bob, 1)) == 1
        assert len(slates) == 3

    asyncio.run(run())


def test_a_call_of_forget_reaches_the_streams(client):
    client.post("/v1/decide", json={"user": "ann-smith"})
    (front,) = {route.endpoint.__self__ for route in client.app.routes if hasattr(route.endpoint, "__self__")}
    ending = time.monotonic() + 30
    while not front.hub._kept and time.monotonic() < ending:  # the loop of the service is another thread's
        time.sleep(0.001)
    assert "ann-smith" in repr(vars(front.hub))
    client.post("/v1/forget", json={"user": "ann-smith"})
    assert "ann-smith" not in repr(vars(front.hub))


def test_an_error_is_told_and_the_next_evidence_brings_a_slate():
    async def run():
        hub, (decide, _), errors = Hub(Limits()), made(0), [EmptyCandidates("nothing to choose from")]

        async def failing():
            if errors:
                raise errors.pop()
            return await decide()

        stream = hub.slates("ann", failing)
        ((_, kind, data),) = await following(stream, 1)
        assert (kind, data["error"], data["message"]) == ("problem", "EmptyCandidates", "nothing to choose from")
        hub.evidence(user="ann")
        assert (await following(stream, 1))[0][0] == "slate-0"
        await stream.aclose()

    asyncio.run(run())


def test_a_change_of_items_asks_for_few_slates_at_once(monkeypatch):
    monkeypatch.setattr(events, "AT_ONCE", 3)

    async def run():
        hub, (decide, _), asking, most = Hub(Limits()), made(0), [], []

        async def slow():
            asking.append(1)
            most.append(len(asking))
            await asyncio.sleep(0.001)
            asking.pop()
            return await decide()

        streams = [hub.slates(f"user-{number}", slow) for number in range(10)]
        await asyncio.gather(*(following(stream, 1) for stream in streams))
        assert (max(most), len(most)) == (3, 10)
        for stream in streams:
            await stream.aclose()

    asyncio.run(run())


def test_a_user_is_asked_for_again_where_the_service_is_busy():
    async def run():
        hub, (decide, _), refusals = Hub(Limits()), made(0), [Refused(429, "Busy", "busy")]

        async def busy():
            if refusals:
                raise refusals.pop()
            return await decide()

        assert (await following(hub.slates("ann", busy), 1))[0][0] == "slate-0"

    asyncio.run(run())


def test_streams_are_limited_and_who_leaves_makes_room():
    async def run():
        hub = Hub(Limits(subscribers=2))
        with hub.place():
            with hub.place(), pytest.raises(Refused, match="2 streams are open"), hub.place():
                pass
            with hub.place():
                pass
        hub.end()
        with pytest.raises(Refused), hub.place():
            pass

    asyncio.run(run())


def front_of(limits):
    front = Front(None, None, limits, None, lambda: False)
    front.hub = Hub(limits)
    return front


async def never():
    await asyncio.Event().wait()


async def called(front, send, version="2.3"):
    """Asks for the stream of decisions, of a client that stays."""
    call = {"type": "http", "headers": [(b"host", b"localhost")], "query_string": b"", "asgi": {"spec_version": version}}
    await Stream(front, "decisions", "read", streams.decisions)(call, never, send)


def test_a_stream_has_its_place_before_it_begins():
    async def run():
        front, statuses = front_of(Limits(subscribers=1)), []

        async def send(message):
            statuses.append(message.get("status"))
            await asyncio.sleep(0)  # all have come before the first event is asked for

        calls = [asyncio.create_task(called(front, send)) for _ in range(5)]
        while len(list(filter(None, statuses))) < 5 or not front.hub._dashboards:
            await asyncio.sleep(0)
        assert sorted(filter(None, statuses)) == [200, 429, 429, 429, 429]
        assert len(front.hub._dashboards) == 1
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        with front.hub.place():
            assert front.hub._dashboards == {}

    asyncio.run(asyncio.wait_for(run(), 30))


@pytest.mark.parametrize("version", ["2.3", "2.4"])
def test_one_who_does_not_read_is_sent_away_and_its_place_is_free(monkeypatch, caplog, version):
    monkeypatch.setattr(events, "PATIENCE", 0.05)

    async def run():
        front = front_of(Limits(subscribers=1))
        with caplog.at_level(logging.INFO, "recsdk_serve.access"):
            await called(front, lambda message: never(), version)
        assert front.hub._dashboards == {}
        with front.hub.place():
            pass
        (line,) = [json.loads(record.message) for record in caplog.records]
        assert (line["operation"], line["status"], line["error"]) == ("decisions", 200, "Unread")
        assert line["ms"] >= 50

    asyncio.run(asyncio.wait_for(run(), 30))


def test_a_stream_that_is_refused_has_its_line_in_the_log(client, caplog):
    with caplog.at_level(logging.INFO, "recsdk_serve.access"):
        client.get("/v1/events/slates?user=a-secret-user&size=0")
    (line,) = [json.loads(record.message) for record in caplog.records]
    assert (line["operation"], line["status"], line["error"]) == ("slates", 422, "WrongType")
    assert "a-secret" not in caplog.text


def test_the_memory_of_whose_a_decision_is_stays_small(monkeypatch):
    monkeypatch.setattr(events, "USERS", 10)

    async def run():
        hub = Hub(Limits())
        for number in range(100):
            hub.notice(decided(number, "ann"))
        await asyncio.sleep(0)
        assert len(hub._whose) == 10

    asyncio.run(run())


def test_all_streams_end_with_the_service():
    async def run():
        hub, (decide, _) = Hub(Limits()), made(0)
        streams = [await begun(hub), hub.slates("ann", decide)]
        await following(streams[1], 1)
        hub.end()
        for stream in streams:
            assert len([text async for text in stream]) <= 1

    asyncio.run(asyncio.wait_for(run(), 5))


@pytest.mark.parametrize(
    "query", ["", "?user=", "?user=ann&size=0", f"?user={'a' * 1_025}", "?user=ann&size=101", "?user=ann&size=1e3", "?user=ann&size=%D9%A1"]
)
def test_a_stream_of_nobody_or_of_a_wrong_size_is_refused(client, query):
    assert client.get(f"/v1/events/slates{query}").status_code == 422


def test_rewards_and_corrections_of_a_user_bring_a_slate_and_those_of_others_and_repeated_ones_do_not():
    async def run():
        hub, (decide, _) = Hub(Limits()), made(0)
        stream = hub.slates("ann", decide)
        await following(stream, 1)
        for notice in (
            Rewarded("before", 1, 1.0, "bob"),
            Rewarded("before", 0, 0.0, "ann"),
            Corrected("before", "duplicate", 0, "ann"),
            Rewarded("of nobody", 1, 1.0),
        ):
            hub.notice(notice)
        await asyncio.sleep(0)
        assert not any(there.is_set() for there in hub._users["ann"])
        for notice in (
            Rewarded("before", 1, 1.0, "ann"),
            Corrected("before", "taken", 1, "ann"),
        ):  # of a decision that the hub has not seen
            hub.notice(notice)
            assert (await following(stream, 1))[0][1] == "slate"
        await stream.aclose()

    asyncio.run(asyncio.wait_for(run(), 30))


def test_a_reward_of_a_decision_from_before_a_new_start_and_its_correction_bring_a_slate(make_client):
    with make_client() as client:
        client.post("/v1/decide", json={"user": "ann-smith", "decision_id": "before"})
    with make_client() as client:
        (front,) = {route.endpoint.__self__ for route in client.app.routes if hasattr(route.endpoint, "__self__")}
        heard, notice = [], front.hub.evidence
        front.hub.evidence = lambda *names, **named: heard.append((names, named)) or notice(*names, **named)

        def told(num):
            ending = time.monotonic() + 30
            while len(heard) < num and time.monotonic() < ending:  # the loop of the service is another thread's
                time.sleep(0.001)
            return heard

        client.post("/v1/reward", json={"decision_id": "before", "value": 1.0, "reward_id": "r"})
        assert told(1) == [((), {"user": "ann-smith"})]
        client.post("/v1/correct", json={"event_id": "r", "value": 0.5})
        assert told(2) == [((), {"user": "ann-smith"})] * 2
        assert "ann-smith" in repr(front.hub._kept)
        client.post("/v1/forget", json={"user": "ann-smith"})
        assert "before" not in repr(front.hub._kept)


def test_over_the_network_a_reward_and_a_new_item_bring_a_fresh_slate(address):
    def slate(lines):
        return json.loads(next(line for line in lines if line.startswith("data: "))[6:])

    with httpx2.Client(base_url=address, timeout=30) as client, client.stream("GET", "/v1/events/slates?user=ann&size=2") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        first = slate(lines)
        name = client.post("/v1/decide", json={"user": "ann"}).json()["decision_id"]
        client.post("/v1/reward", json={"decision_id": name, "value": 1.0})
        second = slate(lines)
        client.post("/v1/items", json={"items": [{"id": "fresh", "price": 1.0}]})
        third = slate(lines)
        assert len({first["decision_id"], second["decision_id"], third["decision_id"]}) == 3
        assert client.post("/v1/shown", json={"decision_id": third["decision_id"]}).json() == {"receipt": "taken"}


def test_over_the_network_a_dashboard_goes_on_after_the_last_event_it_had(address):
    def event(lines):
        return read("\n".join(next(lines) for _ in range(3)))

    with httpx2.Client(base_url=address, timeout=30) as client:
        with client.stream("GET", "/v1/events/decisions") as stream:
            lines = (line for line in stream.iter_lines() if line and not line.startswith(":"))
            client.post("/v1/decide", json={"decision_id": "visit-1"})
            last, kind, data = event(lines)
            assert (kind, data["decision_id"]) == ("decided", "visit-1")
        client.post("/v1/decide", json={"decision_id": "visit-2"})
        with client.stream("GET", "/v1/events/decisions", headers={"last-event-id": last}) as stream:
            lines = (line for line in stream.iter_lines() if line and not line.startswith(":"))
            assert event(lines)[2]["decision_id"] == "visit-2"
