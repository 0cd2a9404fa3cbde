"""Who may do what."""

import asyncio
import json
from types import SimpleNamespace

import pytest
from recsdk_serve import Keys, Limits, add_key, keys, revoke_key
from recsdk_serve.app import Front
from recsdk_serve.events import Hub
from recsdk_serve.guard import Refused, require_local, require_same_site
from recsdk_serve.keys import SCOPES
from recsdk_serve.messages import FollowDecisions, FollowSlates, Slate
from recsdk_serve.operations import EVENTS, OPEN, OPERATIONS

from recsdk.errors import InvalidValue
from recsdk.live.observe import Decided


@pytest.fixture
def file(tmp_path):
    return tmp_path / "keys.json"


def bearer(key):
    return {"authorization": f"Bearer {key}"}


def test_a_key_lets_in_where_its_scope_says_and_nowhere_else(serving, file):
    made = {scope: add_key(file, scope, [scope]) for scope in SCOPES}
    client = serving(keys=Keys(file))
    for operation in OPERATIONS:
        for scope, key in made.items():
            answer = client.request(operation.method, operation.path, headers=bearer(key), content=b"?")
            assert (answer.status_code != 403) == (operation.scope in {scope, "read" if scope == "admin" else scope}), (operation, scope)
    for path, (_, scope) in EVENTS.items():
        for name, key in made.items():
            if name != scope and (name, scope) != ("admin", "read"):
                assert client.get(path, headers=bearer(key)).status_code == 403


def test_without_a_key_that_somebody_has_nobody_gets_in(serving, file):
    key = add_key(file, "web", ["decide", "reward", "items", "admin"])
    client = serving(keys=Keys(file))
    wrong = [{}, bearer(""), bearer(key[:-1]), bearer(key + "x"), bearer("x"), {"authorization": key}, {"authorization": f"Basic {key}"}]
    wrong += [bearer("recsdk_"), bearer("recsdk__"), {"authorization": b"Bearer \xff\xfe"}]
    for headers in wrong:
        for operation in OPERATIONS:
            answer = client.request(operation.method, operation.path, json={}, headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (401, "NoKey")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get("/metrics", headers=headers).status_code == 401
        assert client.get("/v1/events/decisions", headers=headers).status_code == 401
    assert client.post("/v1/decide", json={}, headers=bearer(key)).status_code == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.8.0.1:80", "[::1]:8000", "testserver"])
def test_without_keys_this_machine_and_the_address_that_is_listened_on_get_in(client, host):
    assert client.post("/v1/decide", json={}, headers={"host": host}).status_code == 200


OTHERS = ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.1", "localhost:1:2", "[::1", ""]


@pytest.mark.parametrize("host", OTHERS)
def test_without_keys_no_name_of_another_site_that_leads_here_gets_in(client, host):
    for operation in OPERATIONS:
        answer = client.request(operation.method, operation.path, json={}, headers={"host": host})
        assert (answer.status_code, answer.json()["error"]) == (403, "OtherHost"), operation
    for path in ("/v1/events/decisions", "/v1/events/slates?user=ann", "/metrics"):
        assert client.get(path, headers={"host": host}).status_code == 403


def test_with_keys_any_host_gets_in(serving, file):
    key = add_key(file, "web", ["decide"])
    client = serving(keys=Keys(file))
    assert client.post("/v1/decide", json={}, headers=bearer(key) | {"host": "shop.example"}).status_code == 200


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}, {"origin": "null"}])
def test_without_keys_a_page_of_another_site_gets_nothing(client, headers):
    streams = [("GET", path) for path in ("/v1/events/decisions", "/v1/events/slates?user=ann", "/metrics")]
    for method, path in [*((each.method, each.path) for each in OPERATIONS), *streams]:
        answer = client.request(method, path, json={}, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (403, "OtherSite"), path


def test_what_a_browser_may_ask_of_another_site_changes_nothing():
    assert [each.path for each in OPERATIONS if each.method == "GET"] == ["/v1/models", "/v1/status"]


def called(client, server):
    return {"headers": [(b"host", server.encode())], "server": (server, 8000), "client": client and (client, 50_000)}


@pytest.mark.parametrize("client", ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.5", "::ffff:10.0.0.5", "testclient", None])
def test_without_keys_this_machine_gets_in_by_any_of_its_addresses(client):
    require_local(called(client, "10.0.0.5"))


@pytest.mark.parametrize("client", ["10.0.0.6", "::ffff:10.0.0.6", "192.0.2.1", "2001:db8::1"])
def test_without_keys_no_other_machine_gets_in_though_it_names_the_address_it_calls(client):
    with pytest.raises(Refused, match="only this machine") as caught:
        require_local(called(client, "10.0.0.5"))
    assert caught.value.status == 403


def test_a_page_of_this_site_gets_in():
    require_same_site({b"host": b"localhost:8000"})
    require_same_site({b"host": b"localhost:8000", b"sec-fetch-site": b"same-origin", b"origin": b"http://localhost:8000"})


def test_health_is_open_to_all(serving, file):
    add_key(file, "web", ["decide"])
    client = serving(keys=Keys(file))
    assert [client.get(path).status_code for path in (*OPEN, "/openapi.json")] == [200] * 4


def test_a_key_that_is_revoked_or_added_counts_from_the_next_call_on(serving, file):
    old = add_key(file, "old", ["decide"])
    client = serving(keys=Keys(file))
    assert client.post("/v1/decide", json={}, headers=bearer(old)).status_code == 200
    new = add_key(file, "new", ["decide"])
    revoke_key(file, "old")
    assert client.post("/v1/decide", json={}, headers=bearer(old)).status_code == 401
    assert client.post("/v1/decide", json={}, headers=bearer(new)).status_code == 200


@pytest.mark.parametrize("stream", ["decisions", "slates"])
def test_an_open_stream_ends_once_its_key_is_revoked(file, stream):
    async def decide(asked):
        return Slate(decision_id="slate", ids=("a",), propensities=(1.0,))

    async def run():
        key = add_key(file, "web", ["decide", "admin"])
        front = Front(None, Keys(file), Limits(), None, lambda: False)
        front.hub, front._service = Hub(Limits()), SimpleNamespace(quick=SimpleNamespace(ask=decide))
        headers = [(b"authorization", f"Bearer {key}".encode())]
        asked = {"decisions": FollowDecisions(), "slates": FollowSlates(user="ann")}[stream]
        with front.followed(asked) as followed:
            await ends(front, front.while_allowed({"headers": headers}, "decide", followed))

    async def ends(front, lines):
        happened = Decided("visit", "ann", num_candidates=8, size=1, seconds=0.001)
        for _ in range(2):
            front.hub.notice(happened)
            front.hub.evidence(user="ann")
            assert await asyncio.wait_for(anext(lines), 5)
        revoke_key(file, "web")
        front.hub.notice(happened)
        front.hub.evidence(user="ann")
        assert [line async for line in lines] == []
        assert (front.hub._dashboards, front.hub._users) == ({}, {})

    asyncio.run(asyncio.wait_for(run(), 30))


def test_a_file_that_another_process_changes_is_left_alone_until_it_is_done(file):
    key = add_key(file, "web", ["decide"])
    with keys._changing(file) as entries:
        for change in (lambda: add_key(file, "cron", ["items"]), lambda: revoke_key(file, "web")):
            with pytest.raises(InvalidValue, match="is being changed: try again"):
                change()
        entries.clear()
    assert Keys(file).client(key) is None
    with pytest.raises(InvalidValue, match="must be one of"):
        revoke_key(file, "web")  # which is refused, and leaves the file to the next
    assert Keys(file).client(add_key(file, "cron", ["items"])).name == "cron"


@pytest.mark.parametrize("spoil", [lambda file: file.unlink(), lambda file: file.write_text("{}")])
def test_where_the_file_cannot_be_read_any_more_nobody_gets_in(serving, file, spoil):
    key = add_key(file, "web", ["decide"])
    client = serving(keys=Keys(file))
    spoil(file)
    assert client.post("/v1/decide", json={}, headers=bearer(key)).status_code == 503


def test_the_file_holds_no_key_and_only_its_owner_reads_it(file):
    key = add_key(file, "web", ["decide"])
    secret = key.rpartition("_")[2]
    assert secret not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


def test_the_same_key_is_never_made_twice_and_salts_differ(file):
    assert add_key(file, "a", ["decide"]) != add_key(file, "b", ["decide"])
    entries = list(json.loads(file.read_text())["keys"].values())
    assert entries[0]["salt"] != entries[1]["salt"]


@pytest.mark.parametrize(("name", "scopes"), [("web", ["all"]), ("web", []), ("", ["decide"]), ("a\nb", ["decide"]), ("there", ["decide"])])
def test_a_key_of_no_scope_or_of_a_name_that_is_there_is_refused(file, name, scopes):
    add_key(file, "there", ["decide"])
    before = file.read_text()
    with pytest.raises(InvalidValue):
        add_key(file, name, scopes)
    assert file.read_text() == before


STRANGE = '{"keys": {"a": {"name": "x", "scopes": ["root"], "salt": "", "hash": ""}}}'


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"keys": {"a": {}}}', STRANGE])
def test_what_is_no_file_of_keys_is_refused(file, text):
    file.write_text(text)
    with pytest.raises(InvalidValue, match="must be a file of keys"):
        Keys(file)
