"""Decisions that are made elsewhere by what the service has exported, and sent to it later."""

import asyncio
import time

import httpx2
import pytest
from recsdk_serve import AsyncClient, Client, Decide, Retry, Reward, ServiceError, Unanswered, locally

from recsdk import LocalRecommender
from recsdk.errors import EarlyDecision, InvalidValue, Unknown, UnknownDecision
from recsdk.live import local

QUICK = Retry(within=5.0, first=0.01)


class Losing(httpx2.HTTPTransport):
    """Loses every other answer of the service."""

    def __init__(self):
        super().__init__()
        self.loses = False

    def handle_request(self, request):
        response = super().handle_request(request)
        self.loses = not self.loses
        if self.loses:
            response.close()
            raise httpx2.ReadError("the connection was cut")
        return response


def test_what_is_decided_elsewhere_is_sent_once_though_answers_are_lost(tmp_path, address):
    with Client(address, retry=QUICK, transport=Losing()) as client, Client(address) as sure:
        with LocalRecommender.load(client.export(), outbox=tmp_path / "outbox.db") as kiosk:
            asked = {"size": 2, "pinned": {1: "item-3"}, "promoted": {0: ["item-1", "item-2"]}, "seen": ["item-7"]}
            slates = [kiosk.recommend({"user_id": "ann", "hour": 3}, **asked) for _ in range(3)]
            kiosk.reward(slates[0].decision_id, 1.0, position=0)
            kiosk.reward(slates[1].decision_id, 0.5, position="page")
            assert client.send(kiosk) == (0, 5, ())  # each was new at first, and its answer was lost
            assert client.send(kiosk) == (0, 0, ())
        again = sure.decide(Decide(request={"user_id": "ann", "hour": 3}, decision_id=slates[2].decision_id, **asked))
        assert (again.ids, again.propensities) == (slates[2].ids, slates[2].propensities)
        assert (sure.models().num_learned, sure.forget("ann")["num_decisions"]) == (2, 3)


def test_a_call_that_the_service_cannot_read_stops_no_other(monkeypatch, address):
    monkeypatch.setattr(local, "_require_small", lambda _: None)  # as under a service of narrower limits
    with Client(address) as client, LocalRecommender.load(client.export()) as kiosk:
        for name, request in (("first", {}), ("long", {"x" * 2_000: 1}), ("last", {})):
            kiosk.recommend(request, decision_id=name)
        kiosk.reward("last", 1.0)
        sent = client.send(kiosk)
        assert (sent.num_new, sent.num_known, [call.decision_id for call, _ in sent.refused]) == (3, 0, ["long"])
        assert kiosk.num_waiting == 0


def test_a_decision_that_is_too_early_waits_with_its_reward(address):
    with Client(address) as client, LocalRecommender.load(client.export(), clock=lambda: time.time() + 3_600) as kiosk:
        kiosk.recommend({}, decision_id="early")
        kiosk.reward("early", 1.0)
        assert [type(error) for _, error in client.send(kiosk).refused] == [EarlyDecision, UnknownDecision]
        assert kiosk.num_waiting == 2


def test_as_many_exports_are_kept_as_asked_for(address):
    with Client(address) as client:
        for number in range(3):
            client.reward(Reward(decision_id=client.decide(Decide()).decision_id, value=1.0))
            data = client.export(keep=1 + number)
        with LocalRecommender.load(data) as kiosk:
            kiosk.recommend({})
            client.reward(Reward(decision_id=client.decide(Decide()).decision_id, value=1.0))
            client.export(keep=1)
            ((_, error),) = client.send(kiosk).refused
        assert isinstance(error, Unknown)
        with pytest.raises(ServiceError):
            client.export(keep=0)


def test_a_lie_and_an_old_export_are_refused_and_told(address):
    with Client(address) as client, LocalRecommender.load(client.export()) as kiosk:
        kiosk.recommend({}, decision_id="true")
        (one,) = kiosk.batch().decisions
        true, lie, old = client.take([one, one._replace(decision_id="lie"), one._replace(decision_id="old", export="0" * 32)])
        assert (true, type(lie), type(old)) == (True, InvalidValue, Unknown)


def test_while_the_service_is_away_another_process_decides_and_what_waits_is_not_lost(address):
    with Client(address) as client, LocalRecommender.load(client.export()) as kiosk:
        with Client("http://localhost:1", retry=Retry(within=0), fallback=locally(kiosk)) as away:
            slate = away.decide(Decide(user="ann", size=2, decision_id="mine"))
            assert (slate.source, len(slate.ids)) == ("fallback", 2)
            assert slate.decision_id != "mine"
            kiosk.reward(slate.decision_id, 1.0, position=0)
            with pytest.raises(Unanswered):
                away.send(kiosk)
            with pytest.raises(Unanswered):
                away.decide(Decide(deferred=True))
        assert kiosk.num_waiting == 2
        assert client.send(kiosk) == (2, 0, ())


def test_under_asyncio_too(address):
    async def run():
        async with AsyncClient(address) as client:
            with LocalRecommender.load(await client.export()) as kiosk:
                kiosk.recommend({})
                assert (await client.take(kiosk.batch().decisions)) == [True]
                return await client.send(kiosk)

    assert asyncio.run(run()) == (0, 1, ())
