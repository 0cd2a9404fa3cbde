"""The adapters of brokers conform, on real servers; a server that is killed and comes back loses nothing."""

import asyncio
import importlib.util
import uuid

import pytest
from recsdk_streams import Letter, StreamError, StreamGap
from recsdk_streams.local import LocalServer, missing
from recsdk_streams.testing import CONTENTS, SOURCE_CHECKS


def started(kind, module):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: pip install recsdk-streams[{kind}]")
    if missing(kind):
        pytest.skip(missing(kind))
    return LocalServer(kind)


@pytest.fixture(scope="module")
def redis_server():
    with started("redis", "redis") as server:
        yield server


@pytest.fixture(scope="module")
def nats_server():
    with started("nats", "nats") as server:
        yield server


class RedisBench:
    def __init__(self, server):
        self.server, self.key, self.clients = server, uuid.uuid4().hex, []

    def client(self):
        import redis

        return redis.Redis.from_url(self.server.url, socket_timeout=None)

    def put(self, contents):
        with self.client() as client:
            for content in contents:
                client.xadd(self.key, {"data": content})

    def source(self):
        from recsdk_streams.redis import RedisSource

        return RedisSource(self.client(), self.key)

    def sink(self):
        from recsdk_streams.redis import RedisSink

        return RedisSink(self.client(), self.key)

    def cut(self):
        with self.client() as client:
            client.xtrim(self.key, maxlen=0, approximate=False)


class NatsBench:
    def __init__(self, server):
        self.server, self.name = server, uuid.uuid4().hex
        self.do(lambda js: js.add_stream(name=self.name, subjects=[self.name]))

    def do(self, work):
        import nats

        async def done():
            client = await nats.connect(self.server.url)
            try:
                await work(client.jetstream())
            finally:
                await client.close()

        asyncio.run(done())

    def put(self, contents):
        async def put(js):
            for content in contents:
                await js.publish(self.name, content)

        self.do(put)

    def source(self):
        from recsdk_streams.nats import NatsSource

        return NatsSource(self.name, self.server.url)

    def sink(self):
        from recsdk_streams.nats import NatsSink

        return NatsSink(self.name, self.server.url)

    def cut(self):
        self.do(lambda js: js.purge_stream(self.name))


@pytest.fixture(params=["redis", "nats"])
def bench(request):
    kind = {"redis": RedisBench, "nats": NatsBench}[request.param]
    return kind(request.getfixturevalue(f"{request.param}_server"))


@pytest.mark.parametrize("check", SOURCE_CHECKS, ids=lambda check: check.__name__)
def test_an_adapter_conforms(bench, check):
    check(bench)


def test_a_server_that_is_killed_and_comes_back_has_all_that_was_sent(bench, monkeypatch):
    monkeypatch.setattr("recsdk_streams.nats.PATIENCE", 1.0)
    source, sink = bench.source(), bench.sink()
    sink.send([Letter(str(number), content) for number, content in enumerate(CONTENTS)])
    (first,) = source.read(None, 1, 5.0)
    bench.server.kill()
    with pytest.raises(StreamError, match=r"could not be used|closed"):
        source.read(first.offset, 1, 0.0)
    bench.server.start()
    for end in (source, sink):
        end.close()
    again = bench.source()
    found = []
    while len(found) < len(CONTENTS) - 1:
        found += again.read(found[-1].offset if found else first.offset, 100, 5.0)
    assert [message.data for message in found] == CONTENTS[1:]
    again.close()


def test_nats_drops_what_is_sent_again(nats_server):
    bench = NatsBench(nats_server)
    sink = bench.sink()
    for _ in range(2):
        sink.send([Letter("d1", b"one"), Letter("d2", b"two")])
    source = bench.source()
    found = source.read(None, 100, 5.0)
    assert [message.data for message in found] == [b"one", b"two"]
    assert source.read(found[-1].offset, 100, 0.0) == []
    for end in (source, sink):
        end.close()


def test_a_nats_stream_with_deleted_messages_is_read_to_its_end(nats_server):
    bench = NatsBench(nats_server)
    bench.put([b"one", b"two", b"three"])
    bench.do(lambda js: js.delete_msg(bench.name, 2))
    source = bench.source()
    found = source.read(None, 100, 1.0)
    assert [message.data for message in found] == [b"one", b"three"]
    source.close()


def test_a_stream_that_is_not_there_is_told(nats_server, monkeypatch):
    monkeypatch.setattr("recsdk_streams.nats.PATIENCE", 1.0)
    from recsdk_streams.nats import NatsSink, NatsSource

    source, sink = NatsSource("nowhere", nats_server.url), NatsSink("nowhere", nats_server.url)
    with pytest.raises(StreamError, match="nats:nowhere is not there"):
        source.read(None, 1, 0.0)
    with pytest.raises(StreamError, match="nats:nowhere"):
        sink.send([Letter("d1", b"one")])
    for end in (source, sink):
        end.close()
    with pytest.raises(StreamError, match="nats:nowhere could not be used"):
        NatsSource("nowhere", "nats://127.0.0.1:1")


def test_an_entry_of_redis_that_was_read_may_stay_as_the_only_one(redis_server):
    bench = RedisBench(redis_server)
    bench.put(CONTENTS[:3])
    source = bench.source()
    last = source.read(None, 10, 1.0)[-1]
    with bench.client() as client:
        client.xtrim(bench.key, minid=last.offset)
    bench.put(CONTENTS[3:])
    assert [message.data for message in source.read(last.offset, 10, 1.0)] == CONTENTS[3:]
    with bench.client() as client:
        client.xadd(bench.key, {"other": "field"})
    assert source.read(None, 100, 0.0)[-1].data == b""
    with bench.client() as client:
        client.delete(bench.key)
    with pytest.raises(StreamGap, match="trim a stream no further"):
        source.read(last.offset, 10, 0.0)
    source.close()
