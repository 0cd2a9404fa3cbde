"""What each call does, and that it is what `Recommender` does."""

import asyncio
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from recsdk_serve import Limits, commands
from recsdk_serve import messages as m
from recsdk_serve.service import Service

import recsdk
from recsdk.errors import EmptyLog, TooFewCandidates


def post(client, path, body, status=200, **headers):
    answer = client.post(path, json=body, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_decision_is_in_the_ledger_and_its_reward_is_learned(client, tmp_path):
    slate = post(client, "/v1/decide", {"request": {"user_id": "ann"}, "size": 2, "decision_id": "visit-1"})
    assert len(slate["ids"]) == len(slate["propensities"]) == 2
    assert slate["repeats"] is None
    reward = {"decision_id": "visit-1", "value": 1.0, "item": slate["ids"][1]}
    assert post(client, "/v1/reward", reward) == {"new": True}
    assert post(client, "/v1/reward", reward) == {"new": False}
    assert client.get("/v1/models").json()["num_learned"] == 1


def test_the_same_name_and_request_give_the_same_answer_and_another_request_a_conflict(client):
    asked = {"size": 3, "decision_id": "visit-1"}
    assert post(client, "/v1/decide", asked) == post(client, "/v1/decide", asked)
    found = post(client, "/v1/decide", asked | {"size": 2}, 409)
    assert (found["error"], found["field"]) == ("DecisionConflict", "decision_id")


def test_every_argument_of_recommend_arrives(client):
    seen = [f"item-{number}" for number in range(2, 8)]
    assert set(post(client, "/v1/decide", {"size": 2, "seen": seen})["ids"]) == {"item-0", "item-1"}
    assert post(client, "/v1/decide", {"size": 5, "seen": seen[1:], "at_most": True})["ids"].__len__() == 3
    assert post(client, "/v1/decide", {"candidates": ["item-4"], "user": "ann"})["ids"] == ["item-4"]
    assert post(client, "/v1/decide", {"size": 2, "pinned": {"1": "item-5"}})["ids"][1] == "item-5"
    assert post(client, "/v1/decide", {"size": 2, "promoted": {"0": ["item-6"]}})["ids"][0] == "item-6"
    assert post(client, "/v1/decide", {"size": 2, "chosen": ["item-1", "item-0"]})["propensities"] == [1.0, 1.0]


def test_a_deferred_decision_counts_once_it_was_shown(client):
    slate = post(client, "/v1/decide", {"deferred": True})
    reward = {"decision_id": slate["decision_id"], "value": 1.0}
    assert post(client, "/v1/reward", reward, 422)["error"] == "InvalidValue"
    assert post(client, "/v1/shown", {"decision_id": slate["decision_id"]}) == {"receipt": "taken"}
    assert post(client, "/v1/reward", reward) == {"new": True}
    assert post(client, "/v1/shown", {"decision_id": slate["decision_id"], "shown": False}) == {"receipt": "taken"}
    assert post(client, "/v1/shown", {"decision_id": "nobody's"}) == {"receipt": "unknown"}


def test_a_batch_is_decided_whole_or_not_at_all(client, tmp_path):
    slates = post(client, "/v1/decide:batch", {"requests": [{"user": "ann"}, {"size": 2, "decision_id": "second"}]})["slates"]
    assert [len(slate["ids"]) for slate in slates] == [1, 2]
    assert slates[1]["decision_id"] == "second"
    found = post(client, "/v1/decide:batch", {"requests": [{"decision_id": "third"}, {"size": 9}]}, 422)
    assert (found["error"], found["field"]) == ("TooFewCandidates", "requests[1].size")
    assert post(client, "/v1/reward", {"decision_id": "third", "value": 1.0}, 404)["error"] == "UnknownDecision"


def test_of_a_batch_of_rewards_each_is_taken_or_refused_by_itself(client):
    name = post(client, "/v1/decide", {})["decision_id"]
    rewards = [{"decision_id": "nobody's", "value": 1.0}, {"decision_id": name, "value": 7.0}, {"decision_id": name, "value": 1.0}]
    results = post(client, "/v1/reward:batch", {"rewards": rewards})["results"]
    assert [found["new"] for found in results] == [False, False, True]
    assert [found["problem"] and found["problem"]["error"] for found in results] == ["UnknownDecision", "InvalidReward", None]


def test_a_reward_is_corrected(client):
    name = post(client, "/v1/decide", {})["decision_id"]
    post(client, "/v1/reward", {"decision_id": name, "value": 1.0, "reward_id": "order-1"})
    assert post(client, "/v1/correct", {"event_id": "order-1", "value": None}) == {"receipt": "taken"}
    assert post(client, "/v1/correct", {"event_id": "order-2", "value": 0.5}) == {"receipt": "unknown"}


def test_signals_make_rewards_in_a_folder_with_a_feedback(serving):
    client = serving(reward_range=None, feedback=recsdk.Feedback(window=600, signals={"click": 1}))
    name = post(client, "/v1/decide", {"user": "ann"})["decision_id"]
    assert post(client, "/v1/signal", {"name": "click", "decision_id": name}) == {"receipt": "taken"}
    assert post(client, "/v1/signal", {"name": "click", "decision_id": name}) == {"receipt": "duplicate"}
    assert post(client, "/v1/reward", {"decision_id": name, "value": 1.0}, 422)["error"] == "InvalidValue"


def test_items_are_added_changed_and_removed(client):
    assert post(client, "/v1/items", {"items": [{"id": "fresh", "price": 1.5}]}) == {"num_items": 9}
    assert post(client, "/v1/items", {"items": [{"id": "fresh", "price": 1.5}]}, 422)["error"] == "DuplicateCandidates"
    assert post(client, "/v1/items:change", {"items": [{"id": "fresh", "price": 0.5}]}) == {"num_items": 9}
    assert post(client, "/v1/items:change", {"items": [{"id": "stale", "price": 0.5}]}, 404)["error"] == "UnknownItem"
    assert post(client, "/v1/decide", {"candidates": ["fresh"]})["ids"] == ["fresh"]
    assert post(client, "/v1/items:remove", {"ids": ["fresh"]}) == {"num_items": 8}
    assert post(client, "/v1/decide", {"candidates": ["fresh"]}, 404)["error"] == "UnknownItem"


def test_a_user_is_forgotten(client):
    post(client, "/v1/decide", {"user": "ann"})
    assert post(client, "/v1/forget", {"user": "ann"})["report"]["num_decisions"] == 1
    assert post(client, "/v1/forget", {"user": "ann"})["report"]["num_decisions"] == 0


def test_models_are_published_and_rolled_back(client):
    first = client.get("/v1/models").json()
    assert first["published"][-1]["reason"] == "opened"
    second = post(client, "/v1/models:publish", {"scorers": ["popularity", "recency"]})
    assert second["published"][-1]["reason"] == "swapped"
    third = post(client, "/v1/models:rollback", {})
    assert third["published"][-1]["reason"] == "rolled back"
    assert third["published"][-1]["model"] == first["published"][-1]["model"]
    assert post(client, "/v1/models:publish", {"scorers": ["popularty"]}, 404)["error"] == "UnknownPlugin"
    assert post(client, "/v1/models:rollback", {}, 422)["error"] == "InvalidValue"


def test_many_clients_at_once_get_what_each_asked_for(client, tmp_path):
    def visit(number):
        slate = post(client, "/v1/decide", {"user": f"user-{number}", "size": 1 + number % 3, "decision_id": f"visit-{number}"})
        assert (slate["decision_id"], len(slate["ids"])) == (f"visit-{number}", 1 + number % 3)
        return post(client, "/v1/reward", {"decision_id": f"visit-{number}", "item": slate["ids"][0], "value": 1.0})["new"]

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(visit, range(64)))
    assert client.get("/v1/models").json()["num_learned"] == 64


def test_one_bad_request_among_many_spoils_no_other(client):
    def ask(number):
        return client.post("/v1/decide", json={"size": 9 if number % 4 == 0 else 1, "decision_id": f"visit-{number}"}).status_code

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, range(32))) == [422, 200, 200, 200] * 8


class Counted:
    """A recommender that counts what it is asked, and refuses the size 9."""

    def __init__(self):
        self.batches, self.alone = [], []
        self.folder = Path("nowhere")

    def recommend_many(self, requests):
        requests = list(requests)
        self.batches.append(len(requests))
        for index, asked in enumerate(requests):
            if asked.get("size") == 9:
                raise TooFewCandidates(f"requests[{index}]: size must be smaller.")
        return [self.slate(asked) for asked in requests]

    def recommend(self, **asked):
        self.alone.append(asked["decision_id"])
        if asked.get("size") == 9:
            raise TooFewCandidates("size must be smaller.")
        return self.slate(asked)

    def slate(self, asked):
        return SimpleNamespace(decision_id=asked["decision_id"], ids=("a",), propensities=(1.0,), repeats=None)


@pytest.mark.parametrize(("bad", "batches", "alone"), [([], 1, 0), ([5], 2, 1), ([0, 3, 9], 4, 3), (range(10), 8, 10), (range(9), 8, 10)])
def test_who_is_refused_among_many_is_asked_alone_and_the_others_together(bad, batches, alone):
    async def run():
        counted = Counted()
        service = Service(counted, Limits())
        jobs = [m.Decide(decision_id=f"visit-{place}", size=9 if place in bad else 1) for place in range(10)]
        answers = service._together(jobs)
        assert [isinstance(answer, TooFewCandidates) for answer in answers] == [place in bad for place in range(10)]
        assert all(answer.decision_id == f"visit-{place}" for place, answer in enumerate(answers) if place not in bad)
        assert (len(counted.batches), len(counted.alone)) == (batches, alone)
        service.quick.end()
        service.slow.end()

    asyncio.run(run())


def test_nothing_of_a_user_is_left_by_the_warming_once_it_is_forgotten(make_client, tmp_path):
    with make_client(remember=4) as client:
        visit = {"request": {"user_id": "ann-smith", "likes": "ann-smith's tea", "age": 4.5}, "decision_id": "visit-1"}
        post(client, "/v1/decide", visit)
        post(client, "/v1/reward", {"decision_id": "visit-1", "value": 1.0})
        post(client, "/v1/decide", visit | {"decision_id": "visit-2"})  # with a history
    warming = commands._found(tmp_path / "shop").request
    assert warming == {"likes": "", "age": 0.0}
    with make_client(remember=4, warming=warming) as client:
        assert post(client, "/v1/forget", {"user": "ann-smith"})["report"]["num_decisions"] == 2
    assert not [path for path in (tmp_path / "shop").rglob("*") if path.is_file() and b"ann-smith" in path.read_bytes()]


def test_what_was_acknowledged_is_there_when_the_folder_is_opened_again(make_client, tmp_path):
    with make_client() as client:
        name = post(client, "/v1/decide", {})["decision_id"]
        post(client, "/v1/reward", {"decision_id": name, "value": 1.0})
    with recsdk.Recommender.open(tmp_path / "shop", policy="lin-ts", scorers=["popularity"]) as shop:
        assert shop.num_learned == 1
        assert shop.audit()


def test_health_and_metadata_are_those_of_kserve(client):
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2").json()["name"] == "recsdk"


def test_metrics_count_calls_and_decisions_and_name_nobody(client):
    post(client, "/v1/decide", {"user": "a-secret-user", "decision_id": "a-secret-id"})
    post(client, "/v1/decide", {"size": 0}, 422)
    told = client.get("/metrics").text
    assert 'recsdk_http_request_duration_seconds_count{operation="decide",status="200"} 1.0' in told
    assert 'recsdk_http_request_duration_seconds_count{operation="decide",status="422"} 1.0' in told
    assert "recsdk_decision_duration_seconds_count 1.0" in told
    assert "a-secret" not in told


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_trace_is_taken_over_into_the_answer_and_the_log(client, caplog):
    with caplog.at_level(logging.INFO, "recsdk_serve.access"):
        answer = client.post("/v1/decide", json={"user": "a-secret-user"}, headers={"traceparent": TRACE})
    assert answer.headers["traceparent"] == TRACE
    (line,) = [json.loads(record.message) for record in caplog.records]
    assert (line["operation"], line["status"], line["trace"]) == ("decide", 200, "4bf92f3577b34da6a3ce929d0e0e4736")
    assert "a-secret" not in caplog.text


@pytest.mark.parametrize("trace", ["x", TRACE.upper(), f"ff{TRACE[2:]}", "00-" + "0" * 32 + "-00f067aa0ba902b7-01", TRACE + "\n"])
def test_a_trace_that_is_none_is_ignored(client, trace):
    answer = client.post("/v1/decide", json={}, headers={"traceparent": trace.encode()})
    assert "traceparent" not in answer.headers


def test_it_is_warmed_by_a_decision_that_counts_for_nothing(make_client, tmp_path):
    with make_client(warming={"hour": 9}) as client:
        assert "recsdk_decision_duration_seconds_count 1.0" in client.get("/metrics").text
        assert client.get("/v1/models").json()["num_learned"] == 0
    with pytest.raises(EmptyLog):
        recsdk.read_ledger(tmp_path / "shop", default_reward=0.0, window=0)


def test_a_service_that_cannot_be_warmed_says_so_and_serves(serving, caplog):
    with caplog.at_level(logging.WARNING, "recsdk_serve"):
        client = serving(warming={"hour": [1]})
    assert "not warm" in caplog.text
    assert client.get("/v2/health/ready").json() == {"ready": True}


def test_it_is_not_ready_any_more_when_the_server_is_about_to_stop(serving):
    stopping = []
    client = serving(is_stopping=lambda: bool(stopping))
    assert client.get("/v2/health/ready").status_code == 200
    stopping.append(1)
    answer = client.get("/v2/health/ready")
    assert (answer.status_code, answer.json()) == (503, {"ready": False})
    assert post(client, "/v1/decide", {})["ids"]
