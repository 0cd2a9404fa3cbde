"""What no client should be able to do: every input is answered with the right status and one shape of problem, and never with 500."""

import asyncio
import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recsdk_serve import Limits
from recsdk_serve.guard import Refused, body, decoded
from recsdk_serve.messages import Decide, Reward

JSON = {"content-type": "application/json"}
DEEP = 10_000
BODIES = {
    "nothing": (b"", 400, "NotJson"),
    "no json": (b"size=1", 400, "NotJson"),
    "cut off": (b'{"size": 1', 400, "NotJson"),
    "two": (b'{"size": 1}{"size": 1}', 400, "NotJson"),
    "NaN": (b'{"request": {"x": NaN}}', 400, "NotJson"),
    "Infinity": (b'{"request": {"x": -Infinity}}', 400, "NotJson"),
    "1e400": (b'{"request": {"x": 1e400}}', 400, "NotJson"),
    "5,000 digits": (b'{"size": ' + b"9" * 5_000 + b"}", 400, "NotJson"),
    "a name twice": (b'{"size": 1, "size": 2}', 400, "NotJson"),
    "a name twice within": (b'{"request": {"x": 1, "x": 2}}', 400, "NotJson"),
    "not UTF-8": (b'{"user": "\xff"}', 400, "NotJson"),
    "UTF-16": ('{"size": 1}'.encode("utf-16"), 400, "NotJson"),
    "deep lists": (b"[" * DEEP + b"]" * DEEP, 400, "TooDeep"),
    "deep objects": (b'{"request":' * DEEP + b"1" + b"}" * DEEP, 400, "TooDeep"),
    "deep and open": (b"[" * DEEP, 400, "TooDeep"),
    "brackets in a text": (json.dumps({"user": '[{"' * 100}).encode(), 200, None),
    "a list": (b"[]", 422, "WrongType"),
    "null": (b"null", 422, "WrongType"),
    "another field": (b'{"sise": 1}', 422, "WrongType"),
    "size as text": (b'{"size": "1"}', 422, "WrongType"),
    "size true": (b'{"size": true}', 422, "WrongType"),
    "size 1.5": (b'{"size": 1.5}', 422, "WrongType"),
    "size 0": (b'{"size": 0}', 422, "WrongType"),
    "size 2^70": (b'{"size": 1180591620717411303424}', 422, "WrongType"),
    "an object as a feature": (b'{"request": {"x": {}}}', 422, "WrongType"),
    "a huge feature": (b'{"request": {"x": ' + b"9" * 400 + b"}}", 422, "InvalidRequest"),
    "half a character": (b'{"user": "\\ud800"}', 400, "NotJson"),
    "half a character as an id": (b'{"decision_id": "\\ud800"}', 400, "NotJson"),
    "half a character as a field": (b'{"\\ud800": 1}', 400, "NotJson"),
    "half a character as an item": (b'{"candidates": ["\\ud800"]}', 400, "NotJson"),
    "an empty id": (b'{"decision_id": ""}', 422, "WrongType"),
    "a long id": (json.dumps({"decision_id": "é" * 100}).encode(), 422, "InvalidRequest"),
    "a path as an id": (b'{"decision_id": "../../etc/passwd"}', 200, None),
    "SQL as a user": (b'{"user": "\'; DROP TABLE decisions; --"}', 200, None),
    "NUL": (b'{"user": "a\\u0000b"}', 200, None),
    "an unknown item": (b'{"candidates": ["../item-1"]}', 404, "UnknownItem"),
    "an item twice": (b'{"candidates": ["item-1", "item-1"]}', 422, "DuplicateCandidates"),
    "a user of the longest name": (json.dumps({"user": "é" * 1_024}).encode(), 200, None),
    "a longer user": (json.dumps({"user": "é" * 1_025}).encode(), 422, "WrongType"),
    "a feature of the longest text": (json.dumps({"request": {"x": "é" * 4_096}}).encode(), 200, None),
    "a longer feature": (json.dumps({"request": {"x": "é" * 4_097}}).encode(), 422, "WrongType"),
    "a longer one in a list": (json.dumps({"request": {"x": ["é" * 4_097]}}).encode(), 422, "WrongType"),
    "a longer name of a feature": (json.dumps({"request": {"x" * 1_025: 1}}).encode(), 422, "WrongType"),
    "more features": (json.dumps({"request": {f"x{number}": 1 for number in range(4_097)}}).encode(), 422, "WrongType"),
    "no candidates": (b'{"candidates": []}', 422, "EmptyCandidates"),
    "candidates and seen": (b'{"candidates": ["item-1"], "seen": ["item-2"]}', 422, "InvalidValue"),
    "pinned by no position": (b'{"pinned": {"top": "item-1"}}', 422, "WrongType"),
    "pinned outside": (b'{"pinned": {"5": "item-1"}}', 422, "InvalidRequest"),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    from recsdk_serve import make_app
    from starlette.testclient import TestClient

    import recsdk

    folder = tmp_path_factory.mktemp("hostile") / "shop"
    items = [{"id": f"item-{number}", "price": float(number)} for number in range(8)]

    def opening(observer):
        return recsdk.Recommender.open(folder, items=items, policy="lin-ts", reward_range=(0, 1), observer=observer)

    with TestClient(make_app(opening), raise_server_exceptions=False) as started:
        yield started


def problem(answer):
    found = answer.json()
    assert set(found) == {"error", "message", "field"}
    assert found["message"]
    return found["error"]


@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_body_is_answered_with_the_right_status(client, name):
    data, status, error = BODIES[name]
    answer = client.post("/v1/decide", content=data, headers=JSON)
    assert (answer.status_code, None if error is None else problem(answer)) == (status, error), answer.text


@pytest.mark.parametrize("kind", ["", "text/plain", "application/jsonx", "application/json; charset=utf-16", "multipart/form-data"])
def test_another_type_than_json_is_refused_so_no_form_of_another_site_gets_in(client, kind):
    answer = client.post("/v1/decide", content=b"{}", headers={"content-type": kind} if kind else {})
    assert (answer.status_code, problem(answer)) == (415, "NotJson")


def test_a_compressed_body_is_refused_so_none_is_a_bomb(client):
    answer = client.post("/v1/decide", content=b"{}", headers=JSON | {"content-encoding": "gzip"})
    assert answer.status_code == 415


def test_a_body_of_50_megabytes_is_refused_before_it_is_read(client):
    answer = client.post("/v1/decide", content=b"{}", headers=JSON | {"content-length": str(50_000_000)})
    assert (answer.status_code, problem(answer)) == (413, "TooLarge")


def test_a_body_that_grows_is_refused_where_the_limit_is():
    read = []

    def chunks():
        for _ in range(1_000):
            read.append(1)
            yield {"type": "http.request", "body": b" " * 10_000, "more_body": True}

    arriving = chunks()

    async def receive():
        return next(arriving)

    with pytest.raises(Refused) as caught:
        asyncio.run(body({b"content-type": b"application/json"}, receive, Limits(body=100_000)))
    assert (caught.value.status, caught.value.problem.error, len(read)) == (413, "TooLarge", 11)


def test_a_slow_body_is_ended():
    async def never():
        await asyncio.sleep(5)

    with pytest.raises(Refused, match=r"within 0\.05 s") as caught:
        asyncio.run(body({b"content-type": b"application/json"}, never, Limits(seconds=0.05)))
    assert caught.value.status == 408


@pytest.mark.parametrize("path", ["/", "/v1/..%2Fetc/passwd", "/v1/decide/", "/v1/%00", "/v1//decide", "/v3"])
def test_a_path_that_is_none_is_told_in_the_same_shape(client, path):
    answer = client.post(path, json={})
    assert (answer.status_code, problem(answer)) == (404, "NotFound")


def test_another_method_is_told_in_the_same_shape(client):
    answer = client.delete("/v1/decide")
    assert (answer.status_code, problem(answer), answer.headers["allow"]) == (405, "NotAllowed", "POST")


REWARDS = {
    "unknown": ({"decision_id": "nobody's", "value": 1}, 404, "UnknownDecision"),
    "half a character": ({"decision_id": "\ud800", "value": 1}, 400, "NotJson"),
    "too large": ({"decision_id": "here", "value": 1e300}, 422, "InvalidReward"),
    "an item not shown": ({"decision_id": "here", "value": 1, "item": "../x"}, 404, "UnknownItem"),
    "a position below": ({"decision_id": "here", "value": 1, "position": -1}, 422, "WrongType"),
    "a position outside": ({"decision_id": "here", "value": 1, "position": 4}, 422, "InvalidValue"),
    "no value": ({"decision_id": "here"}, 422, "WrongType"),
    "text": ({"decision_id": "here", "value": "1"}, 422, "WrongType"),
    "a huge integer": ({"decision_id": "here", "value": 10**400}, 422, "WrongType"),
}


@pytest.mark.parametrize("name", REWARDS)
def test_a_reward_that_cannot_be_taken_is_told(client, name):
    told, status, error = REWARDS[name]
    client.post("/v1/decide", json={"decision_id": "here"})
    answer = client.post("/v1/reward", content=json.dumps(told), headers=JSON)
    assert (answer.status_code, problem(answer)) == (status, error), answer.text


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["here", "item-1", "page"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = [*Decide.__struct_fields__, *Reward.__struct_fields__, "requests", "rewards", "items", "ids", "event_id", "name", "time", "shown"]
BODY = st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=4) | ANYTHING
PATHS = ["decide", "reward", "decide:batch", "reward:batch", "signal", "correct", "shown", "items", "items:change", "items:remove"]


@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PATHS), BODY)
def test_no_json_is_answered_with_500(client, path, told):
    answer = client.post(f"/v1/{path}", content=json.dumps(told), headers=JSON)
    assert answer.status_code in (200, 400, 404, 409, 422), answer.text
    assert answer.status_code == 200 or problem(answer)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | ANYTHING.map(lambda value: json.dumps({"request": value}).encode()))
def test_any_bytes_are_decoded_or_refused(data):
    try:
        found = decoded(data, Decide, Limits())
    except Refused as error:
        found = error.status
    assert isinstance(found, Decide) or found in (400, 422)


def test_a_string_without_an_end_is_read_in_a_time_that_grows_with_its_length():
    def seconds(num):
        data, best = b'"' + b'\\"' * num + b"[" * 33, 10.0
        for _ in range(5):
            began = time.perf_counter()
            with pytest.raises(Refused, match="strict JSON"):
                decoded(data, Decide, Limits())
            best = min(best, time.perf_counter() - began)
        return best

    assert seconds(4_000) < 24 * seconds(500)  # 8 times the length; 64 times, were it searched again from each quote


@pytest.mark.parametrize("depth", [1, 31, 32, 33, 40])
def test_depth_is_counted_to_the_last_bracket(depth):
    data = b"[" * depth + b"]" * depth
    with pytest.raises(Refused) as caught:
        decoded(data, Decide, Limits())
    assert caught.value.problem.error == ("TooDeep" if depth > 32 else "WrongType")
