"""The clients: what they repeat, what they raise, and what is shown when the service is away."""

import asyncio
import contextlib
import inspect
import itertools
import json
import math
import threading

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recsdk_serve import AsyncClient, Client, Correct, Decide, Retry, Reward, Served, ServiceError, Shown, Signal, Unanswered, calls
from recsdk_serve.calling import Ask, Failure, Following, Got, exchange
from recsdk_serve.operations import ONCE, OPERATIONS

from recsdk import errors

BY_NAME = {operation.name: operation for operation in OPERATIONS}
QUICK = Retry(within=5.0, first=0.01)
NONE = Retry(within=0.0)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def problem(error, message="wrong"):
    return json.dumps({"error": error, "message": message, "field": None}).encode()


def played(name, gots, retry, *, seconds=0.0, asked=None):
    """Runs a call against answers that are given; returns its result, the requests, and the waits between them."""
    clock, sent, waits = Clock(), [], []
    steps, answers = exchange(BY_NAME[name], asked or Decide(decision_id="visit-1"), retry, clock), iter(gots)
    step = next(steps)
    while True:
        try:
            if isinstance(step, Ask):
                sent.append(step)
                clock.now += seconds
                step = steps.send(next(answers))
            else:
                waits.append(step)
                clock.now += step
                step = next(steps)
        except StopIteration as end:
            return end.value, sent, waits


AWAY = st.one_of(
    st.builds(Got, st.just(0), st.just(b"lost"), st.just(0.0), st.booleans()),
    st.builds(Got, st.sampled_from([429, 503]), st.just(problem("Busy")), st.sampled_from([0.0, 1.0, 3.0]), st.just(True)),
    st.builds(Got, st.sampled_from([502, 504]), st.just(b"<html>"), st.just(0.0), st.just(True)),
)
SLATE = Got(200, b'{"decision_id": "visit-1", "ids": ["tea"], "propensities": [1.0]}')


@settings(max_examples=100, deadline=None)
@given(
    st.lists(AWAY, max_size=8),
    st.builds(Retry, within=st.floats(0, 60), first=st.floats(0.01, 2), longest=st.floats(0.01, 10)),
    st.floats(0, 5),
)
def test_a_call_is_repeated_word_for_word_later_each_time_and_never_begun_after_its_deadline(gots, retry, seconds):
    found, sent, waits = played("decide", [*gots, SLATE], retry, seconds=seconds)
    assert len({ask.content for ask in sent}) == 1
    for turn, (wait, got) in enumerate(zip(waits, gots, strict=False)):
        most = min(retry.longest, retry.first * 2**turn)
        assert max(got.retry_after, most / 2) <= wait <= max(got.retry_after, most)
    assert sum(waits) + seconds * (len(sent) - 1) <= retry.within
    if len(sent) == len(gots) + 1:
        assert found.ids == ("tea",)
    else:
        assert found.is_away
        asked = gots[: len(sent)]
        may = any(got.status in (502, 504) or (got.status == 0 and got.may_be_done) for got in asked)
        assert found.may_be_done == may


@pytest.mark.parametrize("name", sorted(ONCE))
def test_what_would_count_twice_is_repeated_only_where_nothing_was_done(name):
    done = {operation.name: operation.gives for operation in OPERATIONS}[name]
    answer = {"num_items": 3} if done.__name__ == "Catalogue" else dict.fromkeys(done.__struct_fields__, "x") | {"num_learned": 0}
    answer |= {} if "num_learned" not in answer else {"num_items": 0, "published": []}
    good = Got(200, json.dumps(answer).encode())
    for got, is_repeated in (
        (Got(0, b"ConnectError", may_be_done=False), True),
        (Got(429, problem("Busy")), True),
        (Got(503, problem("NotReady")), True),
        (Got(0, b"ReadTimeout"), False),
        (Got(502, b"bad gateway"), False),
        (Got(503, b"upstream connect error: connection termination"), False),
        (Got(503, problem("Service Unavailable")), False),
        (Got(504, problem("Gateway Timeout")), False),
        (Got(503, problem("LedgerError")), True),
    ):
        found, sent, _ = played(name, [got, good], QUICK)
        assert len(sent) == 1 + is_repeated
        assert isinstance(found, Failure) != is_repeated


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500])
def test_what_is_refused_is_not_repeated(status):
    found, sent, _ = played("decide", [Got(status, problem("WrongType")), SLATE], QUICK)
    assert len(sent) == 1
    assert not found.is_away


def answering(*answers):
    """Returns a transport that gives answers, or raises them, the last one again and again, and the requests that came."""
    asked, left = [], itertools.chain(answers, itertools.repeat(answers[-1]))

    def handle(request):
        asked.append(request)
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return httpx2.MockTransport(handle), asked


def away(**settings):
    return Client("http://shop", retry=NONE, transport=answering(httpx2.ConnectError("refused"))[0], **settings)


def test_an_error_of_recsdk_comes_as_the_same_class():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.RecsdkError)]
    assert len(kinds) > 25
    for kind in kinds:
        transport, _ = answering(httpx2.Response(422, content=problem(kind.__name__, "size must be 1")))
        with pytest.raises(kind, match="size must be 1") as caught:
            Client("http://shop", retry=NONE, transport=transport).decide(Decide())
        assert type(caught.value) is kind


@pytest.mark.parametrize("name", ["NoScope", "warn", "RecsdkWarning", "Iterable", "__doc__"])
def test_another_error_is_told_as_the_services(name):
    transport, _ = answering(httpx2.Response(403, content=problem(name, "no")))
    with pytest.raises(ServiceError, match="no") as caught:
        Client("http://shop", retry=NONE, transport=transport).reward(Reward(decision_id="d", value=1.0))
    assert (caught.value.status, caught.value.error) == (403, name)


@pytest.mark.parametrize("answer", [httpx2.Response(200, content=b"<html>"), httpx2.Response(200, json={"ids": 3}), httpx2.Response(302)])
def test_what_is_no_answer_of_the_service_is_a_typed_error(answer):
    with pytest.raises(ServiceError):
        Client("http://shop", retry=NONE, transport=answering(answer)[0]).decide(Decide())


@pytest.mark.parametrize("value", [math.nan, math.inf, object(), [{"deep": 1}, {1: math.nan}]])
def test_what_json_has_not_is_refused_before_it_is_sent(value):
    transport, asked = answering(httpx2.Response(200))
    with pytest.raises(errors.InvalidRequest, match="finite numbers"):
        Client("http://shop", transport=transport).decide(Decide(request={"x": value}))
    assert asked == []


def test_a_wrong_address_or_fallback_is_refused_at_once():
    with pytest.raises(errors.InvalidValue, match="address must begin with http"):
        Client("localhost:8000")
    with pytest.raises(errors.InvalidValue, match="fallback must be"):
        Client("http://shop", fallback="tea")
    with pytest.raises(errors.InvalidValue, match="within"):
        Retry(within=-1)


def test_a_decision_gets_an_id_and_a_signal_of_a_user_does():
    transport, asked = answering(httpx2.Response(429, content=problem("Busy")))
    client = Client("http://shop", retry=NONE, transport=transport)
    for call in (
        lambda: client.decide(Decide()),
        lambda: client.decide_batch([Decide(), Decide(decision_id="mine")]),
        lambda: client.signal(Signal(name="click", user="ann", item="tea")),
        lambda: client.signal(Signal(name="click", decision_id="d")),
    ):
        with pytest.raises(ServiceError):
            call()
    decided, many, of_user, of_decision = (json.loads(request.content) for request in asked)
    assert len(decided["decision_id"]) == 32
    assert [len(one["decision_id"]) for one in many["requests"]] == [32, 4]
    assert len(of_user["signal_id"]) == 32
    assert of_decision["signal_id"] is None  # the service names it by its decision, place and name


def test_a_list_shows_its_first_items_that_may_be_shown():
    client = away(fallback=["a", "b", "c", "d"])
    for asked, ids in (
        (Decide(size=2), ("a", "b")),
        (Decide(size=2, seen=["a"]), ("b", "c")),
        (Decide(size=3, pinned={1: "x", 0: "b"}), ("b", "x", "a")),
        (Decide(size=2, candidates=["d", "b", "x"]), ("b", "d")),
        (Decide(size=9, at_most=True), ("a", "b", "c", "d")),
    ):
        assert client.decide(asked) == Served(None, ids, None, source="fallback")
    for asked in (Decide(size=5), Decide(size=1, candidates=["x"]), Decide(chosen=["a"])):  # as asked for, or not at all
        with pytest.raises(Unanswered):
            client.decide(asked)


def test_a_function_may_give_ids_or_a_slate_of_its_own():
    assert away(fallback=lambda asked: [f"{asked.user}'s"]).decide(Decide(user="ann")).ids == ("ann's",)
    own = Served("local-1", ("a",), (0.25,))
    assert away(fallback=lambda _: own).decide(Decide()) == own._replace(source="fallback")
    with pytest.raises(errors.InvalidValue, match="fallback must be or give"):
        away(fallback=lambda _: "tea").decide(Decide())


def test_only_a_service_that_is_away_has_a_fallback():
    for status, error in ((422, "TooFewCandidates"), (403, "NoScope"), (500, "Failed")):
        transport, _ = answering(httpx2.Response(status, content=problem(error)))
        with pytest.raises(errors.RecsdkError):
            Client("http://shop", retry=NONE, transport=transport, fallback=["tea"]).decide(Decide())
    for answer in (httpx2.Response(429, content=problem("Busy")), httpx2.Response(503, content=problem("LedgerError"))):
        assert Client("http://shop", retry=NONE, transport=answering(answer)[0], fallback=["tea"]).decide(Decide()).ids == ("tea",)


def test_a_decision_that_nobody_saw_though_it_may_be_made_is_told_as_not_shown():
    good = httpx2.Response(200, content=SLATE.content)
    transport, asked = answering(
        httpx2.ReadTimeout("late"), httpx2.ConnectError("refused"), good, httpx2.Response(200, json={"receipt": "taken"}), good
    )
    client = Client("http://shop", retry=NONE, transport=transport, fallback=["tea"])
    assert client.decide(Decide(decision_id="lost")).decision_id is None
    assert client.decide(Decide(decision_id="never sent")).decision_id is None
    assert client.decide(Decide(decision_id="visit-1")).source == "service"
    assert (asked[3].url.path, json.loads(asked[3].content)) == ("/v1/shown", {"decision_id": "lost", "shown": False})
    client.decide(Decide(decision_id="visit-1"))
    assert len(asked) == 5


def test_a_decision_whose_answer_was_lost_is_told_as_not_shown_without_a_fallback_too():
    good, taken = httpx2.Response(200, content=SLATE.content), httpx2.Response(200, json={"receipt": "taken"})
    transport, asked = answering(httpx2.ReadTimeout("late"), httpx2.ReadTimeout("late"), good, good, taken)
    client = Client("http://shop", retry=NONE, transport=transport)
    for name in ("lost", "visit-1"):
        with pytest.raises(Unanswered) as caught:
            client.decide(Decide(decision_id=name))
        assert (caught.value.decision_id, caught.value.may_be_done) == (name, True)
    client._calls._tell_at = math.inf
    client.decide(Decide(decision_id="visit-1"))  # asked for again, and shown
    client._calls._tell_at = 0.0
    client.decide(Decide(decision_id="visit-2"))
    assert json.loads(asked[4].content) == {"decision_id": "lost", "shown": False}
    assert list(client._calls._unshown) == []


def test_a_decision_that_nobody_waits_for_any_more_is_told_as_not_shown():
    asked = []

    async def handle(request):
        asked.append(json.loads(request.content))
        if len(asked) == 1:
            await asyncio.sleep(60)
        return httpx2.Response(200, content=SLATE.content)

    async def run():
        async with AsyncClient("http://shop", transport=httpx2.MockTransport(handle), fallback=["tea"]) as client:
            task = asyncio.create_task(client.decide(Decide(decision_id="left")))
            while not asked:
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await client.decide(Decide(decision_id="visit-1"))

    asyncio.run(run())
    assert asked[2] == {"decision_id": "left", "shown": False}


def timeouts(asked):
    return [request.extensions["timeout"]["read"] for request in asked]


def test_a_slate_waits_little_and_seldom_for_what_is_told_as_not_shown(monkeypatch):
    good, late = httpx2.Response(200, content=SLATE.content), httpx2.ReadTimeout("late")
    transport, asked = answering(late, good, late, good, good, late)
    clock, client = Clock(), Client("http://shop", retry=NONE, transport=transport, fallback=["tea"])
    monkeypatch.setattr(client._calls, "_clock", clock)
    for _ in range(3):
        client.decide(Decide())
    assert timeouts(asked) == [5.0, 5.0, 0.25, 5.0]
    clock.now += 10.0
    client.decide(Decide())
    assert [request.url.path for request in asked].count("/v1/shown") == 2


def test_a_try_waits_no_longer_than_there_is_time_and_what_takes_long_waits_longer():
    lost = [Got(0, b"lost")] * 9
    retry = Retry(within=8.0, timeout=5.0, first=0.1, longest=0.1)
    _, sent, waits = played("decide", lost, retry, seconds=3.0)
    assert [ask.timeout for ask in sent] == pytest.approx([5.0, 5.0 - waits[0], 2.0 - waits[0] - waits[1]])
    assert played("decide", lost, Retry(within=1.0))[1][0].timeout == 1.0
    assert [ask.timeout for ask in played("decide", lost, NONE)[1]] == [5.0]
    assert {ask.timeout for ask in played("export", lost, retry, seconds=3.0)[1]} == {60.0}


def test_after_a_slow_failure_the_service_is_left_alone_for_a_moment(monkeypatch):
    clock, asked = Clock(), []

    def handle(request):
        asked.append(request)
        clock.now += 5.0
        raise httpx2.ConnectTimeout("late")

    client = Client("http://shop", retry=NONE, transport=httpx2.MockTransport(handle), fallback=["tea"])
    monkeypatch.setattr(client._calls, "_clock", clock)
    for _ in range(9):
        assert client.decide(Decide()).ids == ("tea",)
    assert len(asked) == 1
    with pytest.raises(Unanswered):
        client.decide(Decide(chosen=["tea"]))  # for which there is no fallback
    clock.now += 3.1
    client.decide(Decide())
    assert len(asked) == 3


def kept(monkeypatch, *answers, **settings):
    clock = Clock()
    transport, asked = answering(*answers)
    client = Client("http://shop", retry=NONE, transport=transport, sticky=60, **settings)
    monkeypatch.setattr(client._calls, "_clock", clock)
    return client, clock, asked


def test_a_user_is_shown_the_same_slate_while_the_service_is_away(monkeypatch):
    client, clock, _ = kept(monkeypatch, httpx2.Response(200, content=SLATE.content), httpx2.ConnectError("refused"), fallback=["coffee"])
    first = client.decide(Decide(user="ann"))
    clock.now = 60.0
    assert client.decide(Decide(user="ann")) == first._replace(repeats="visit-1", source="kept")
    assert client.decide(Decide(request={"user_id": "ann"})).source == "kept"
    for other in (Decide(user="bob"), Decide(user="ann", size=1, candidates=["coffee"]), Decide(), Decide(user="ann", seen=["tea"])):
        assert client.decide(other).ids == ("coffee",)
    assert client.decide(Decide(user="ann", deferred=True)).source == "fallback"
    clock.now = 60.1
    assert client.decide(Decide(user="ann")).source == "fallback"


def test_of_a_user_who_is_forgotten_no_slate_is_kept(monkeypatch):
    good, forgotten = httpx2.Response(200, content=SLATE.content), httpx2.Response(200, json={"report": {}})
    client, _, _ = kept(monkeypatch, good, forgotten, httpx2.ConnectError("refused"))
    client.decide(Decide(user="ann"))
    client.forget("ann")
    assert "ann" not in repr(vars(client._calls))
    with pytest.raises(Unanswered):
        client.decide(Decide(user="ann"))


def test_slates_are_kept_of_the_latest_users_only(monkeypatch):
    monkeypatch.setattr(calls, "MOST_USERS", 3)
    client, _, _ = kept(monkeypatch, httpx2.Response(200, content=SLATE.content))
    for number in range(9):
        client.decide(Decide(user=f"user-{number}"))
    assert [place[0] for place in client._calls._kept] == ["user-6", "user-7", "user-8"]


def test_both_clients_have_every_operation_with_the_same_arguments():
    def public(kind):
        return {name: value for name, value in vars(kind).items() if not name.startswith("_")}

    assert {operation.name for operation in OPERATIONS} <= set(public(Client))
    assert public(Client).keys() == public(AsyncClient).keys()
    for name, method in public(Client).items():
        assert inspect.signature(method).parameters == inspect.signature(getattr(AsyncClient, name)).parameters


def whole_life(call):
    """Yields every call of a client once, and expects what a shop of eight items answers."""
    slate = yield call("decide", Decide(decision_id="visit-1", user="ann", size=2))
    assert slate.source == "service"
    assert (yield call("reward", Reward(decision_id="visit-1", position=0, value=1.0))) is True
    assert (yield call("reward", Reward(decision_id="visit-1", position=0, value=1.0))) is False
    assert len((yield call("decide_batch", [Decide(user="bob"), Decide(user="eve")]))) == 2
    results = yield call("reward_batch", [Reward(decision_id="visit-1", position=1, value=0.0), Reward(decision_id="none", value=1.0)])
    assert [(result.new, result.problem and result.problem.error) for result in results] == [(True, None), (False, "UnknownDecision")]
    assert (yield call("correct", Correct(event_id="visit-1/0", value=0.5))) == "taken"
    assert (yield call("shown", Shown(decision_id="visit-1", shown=False))) == "taken"
    assert (yield call("add_items", [{"id": "fresh", "price": 2.0}])) == 9
    assert (yield call("change_items", [{"id": "fresh", "price": 3.0}])) == 9
    assert (yield call("remove_items", ["fresh"])) == 8
    assert (yield call("publish", ["popularity", "recency"])).published[-1].reason == "swapped"
    assert (yield call("roll_back")).published[-1].reason == "rolled back"
    assert (yield call("models")).num_items == 8
    assert (yield call("status")).look.health.decisions == 3
    assert (yield call("forget", "bob"))["num_decisions"] == 1
    assert (yield call("ready")) is True


def test_every_call_of_the_service_is_answered(address):
    with Client(address) as client:
        steps = whole_life(lambda name, *arguments: getattr(client, name)(*arguments))
        answer = next(steps)
        with contextlib.suppress(StopIteration):
            while True:
                answer = steps.send(answer)
        with pytest.raises(errors.InvalidValue, match="feedback"):
            client.signal(Signal(name="click", decision_id="visit-1"))


def test_every_call_of_the_service_is_answered_under_asyncio(address):
    async def run():
        async with AsyncClient(address) as client:
            steps = whole_life(lambda name, *arguments: getattr(client, name)(*arguments))
            call = next(steps)
            with contextlib.suppress(StopIteration):
                while True:
                    call = steps.send(await call)

    asyncio.run(run())


class Losing(httpx2.HTTPTransport):
    """Loses the first answers of the service."""

    def __init__(self, num):
        super().__init__()
        self.left = num

    def handle_request(self, request):
        response = super().handle_request(request)
        if self.left:
            self.left -= 1
            response.close()
            raise httpx2.ReadError("the connection was cut")
        return response


def test_a_call_whose_answer_is_lost_counts_once(address):
    with Client(address) as sure, Client(address, retry=QUICK, transport=Losing(2)) as client:
        slate = client.decide(Decide(user="ann"))
        client._http._transport.left = 2
        client.reward(Reward(decision_id=slate.decision_id, value=1.0))
        assert not sure.reward(Reward(decision_id=slate.decision_id, value=1.0))
        assert sure.models().num_learned == 1
        assert sure.forget("ann")["num_decisions"] == 1


def test_a_stream_goes_on_where_it_was_cut():
    frames = [f'id: 1-{number}\nevent: decided\ndata: {{"n": {number}}}\n\n'.encode() for number in range(1, 4)]
    transport, asked = answering(
        httpx2.ConnectError("refused"),
        httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=b":\n\n" + frames[0] + frames[1][:-9]),
        httpx2.Response(503, content=problem("NotReady")),
        httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=b"".join(frames[1:])),
        httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=b'event: dropped\ndata: {"n": 9}\n\n'),
        httpx2.Response(403, content=problem("NoScope", "no")),
    )
    events = Client("http://shop", retry=QUICK, transport=transport).decisions("1-0")
    assert [next(events).data["n"] for _ in range(4)] == [1, 2, 3, 9]
    with pytest.raises(ServiceError, match="no"):
        next(events)
    assert [request.headers.get("last-event-id") for request in asked] == ["1-0", "1-0", "1-1", "1-1", "1-3", "1-3"]


def test_a_stream_that_ends_at_once_is_not_asked_for_for_ever():
    clock, ended = Clock(), Got(0, b"the stream has ended")
    following = Following(Retry(within=10.0, first=0.1), clock=clock)

    def go_on():
        for _ in range(1_000):
            following.begun()
            clock.now += following.wait(ended)

    def until_given_up():
        begin = clock.now
        with pytest.raises(Unanswered):
            go_on()
        return clock.now - begin

    assert 4.0 < until_given_up() <= 10.0
    following.taken("1-1")
    clock.now += following.wait(ended)
    following.begun()
    clock.now += 3_600.0  # without an event
    clock.now += following.wait(ended)
    assert 4.0 < until_given_up() <= 10.0


SSE = {"content-type": "text/event-stream"}


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(200, headers={"content-type": "text/html"}, content=b"<html>log in</html>"),
        httpx2.Response(200, headers=SSE, content=b"event: decided\ndata: {bad\n\n"),
        httpx2.Response(200, headers=SSE, content=b"event: decided\ndata: 3\n\n"),
    ],
)
def test_what_is_no_stream_of_the_service_is_a_typed_error(answer):
    transport, asked = answering(answer)
    with pytest.raises(ServiceError):
        next(Client("http://shop", retry=QUICK, transport=transport).decisions())
    assert len(asked) == 1


def test_an_answer_that_cannot_be_unpacked_is_none():
    broken = httpx2.MockTransport(
        lambda _: httpx2.Response(200, headers={"content-encoding": "gzip"}, stream=httpx2.ByteStream(b"garbage"))
    )
    with pytest.raises(Unanswered):
        Client("http://shop", retry=NONE, transport=broken).decide(Decide())
    assert Client("http://shop", retry=NONE, transport=broken, fallback=["tea"]).decide(Decide()).ids == ("tea",)


def test_streams_of_the_service_are_followed_by_both_clients(address):
    with Client(address) as client:
        slates = client.slates("ann", size=2)
        first = next(slates)
        assert (first.kind, len(first.data["ids"])) == ("slate", 2)
        client.reward(Reward(decision_id=client.decide(Decide(user="ann")).decision_id, value=1.0))
        assert next(slates).data["decision_id"] != first.data["decision_id"]
        slates.close()

        async def last():
            async with AsyncClient(address) as other:
                events = other.decisions()
                threading.Timer(0.2, lambda: client.decide(Decide(decision_id="visit-1"))).start()
                event = await asyncio.wait_for(anext(events), 30)
                await events.aclose()
                return event

        found = asyncio.run(last())
        assert (found.kind, found.data["decision_id"]) == ("decided", "visit-1")
        client.decide(Decide(decision_id="visit-2"))
        after = client.decisions(found.event_id)
        assert next(after).data["decision_id"] == "visit-2"
        after.close()
