"""The adapters of brokers conform, on real servers; a server that is killed and comes back loses nothing."""

import asyncio
import importlib.util
import socket
import sys
import uuid

import pytest
from recsdk_streams import Letter, StreamError, StreamGap, addresses
from recsdk_streams.local import LocalServer, missing
from recsdk_streams.testing import CONTENTS, SOURCE_CHECKS

from recsdk.errors import InvalidValue, MissingExtra


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


class KafkaBench:
    def __init__(self, servers):
        self.settings, self.topic = {"bootstrap.servers": servers, "log_level": 0}, uuid.uuid4().hex
        self.put([b"of another partition"], partition=0)  # makes the topic

    def put(self, contents, partition=1):
        from confluent_kafka import Producer

        producer = Producer(self.settings)
        for content in contents:
            producer.produce(self.topic, content, partition=partition)
        assert producer.flush(10) == 0

    def source(self):
        from recsdk_streams.kafka import KafkaSource

        return KafkaSource(self.topic, 1, self.settings)

    def sink(self):
        from recsdk_streams.kafka import KafkaSink

        return KafkaSink(self.topic, self.settings, partition=1)

    def cut(self):
        pytest.skip("the mock cluster of librdkafka deletes no records")


@pytest.fixture(scope="module")
def kafka_servers():
    """The addresses of the mock cluster of librdkafka: brokers in this process, which speak Kafka's protocol on real sockets."""
    kafka = pytest.importorskip("confluent_kafka")
    holder = kafka.Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})
    yield ",".join(f"{broker.host}:{broker.port}" for broker in holder.list_topics(timeout=30).brokers.values())
    holder.flush(1)


@pytest.fixture(params=["kafka", "redis", "nats"])
def bench(request):
    if request.param == "kafka":
        return KafkaBench(request.getfixturevalue("kafka_servers"))
    kind = {"redis": RedisBench, "nats": NatsBench}[request.param]
    return kind(request.getfixturevalue(f"{request.param}_server"))


@pytest.mark.parametrize("check", SOURCE_CHECKS, ids=lambda check: check.__name__)
def test_an_adapter_conforms(bench, check):
    check(bench)


@pytest.mark.parametrize("bench", ["redis", "nats"], indirect=True)
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


def test_a_partition_of_kafka_that_was_cut_or_made_again_is_a_gap(kafka_servers, monkeypatch):
    import confluent_kafka
    from recsdk_streams import kafka

    bench = KafkaBench(kafka_servers)
    bench.put(CONTENTS)
    with pytest.raises(StreamGap, match=r"read up to 7, and has messages 0 to 6"):
        bench.source().read("7", 10, 1.0)
    assert bench.source().read("6", 10, 0.0) == []

    class Cut(confluent_kafka.Consumer):
        def get_watermark_offsets(self, partition, timeout):
            return 3, super().get_watermark_offsets(partition, timeout=timeout)[1]

    monkeypatch.setattr(kafka, "Consumer", Cut)
    with pytest.raises(StreamGap, match=r"read up to 1, and has messages 3 to 6"):
        bench.source().read("1", 10, 1.0)
    assert len(bench.source().read("2", 10, 1.0)) == len(CONTENTS) - 3


def test_brokers_of_kafka_that_are_away_are_told(monkeypatch):
    from recsdk_streams import kafka

    monkeypatch.setattr(kafka, "PATIENCE", 0.3)
    settings = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}
    source, sink = kafka.KafkaSource("visits", 0, settings), kafka.KafkaSink("slates", settings)
    with pytest.raises(StreamError, match="kafka:visits/0 could not be used"):
        source.read(None, 1, 0.0)
    with pytest.raises(StreamError, match="kafka:slates"):
        sink.send([Letter("d1", b"one")])
    for end in (source, sink):
        end.close()


def test_addresses_open_what_they_name(redis_server, nats_server, kafka_servers, tmp_path, monkeypatch):
    nats, redis, kafka = NatsBench(nats_server), RedisBench(redis_server), KafkaBench(kafka_servers)
    monkeypatch.setenv("KEY", redis.key)
    places = {
        f"{nats_server.url}/{nats.name}": f"nats:{nats.name}",
        f"{redis_server.url}/0?stream=$KEY": f"redis:{redis.key}",
        f"kafka://{kafka_servers}/{kafka.topic}/1?log_level=0": f"kafka:{kafka.topic}/1",
        str(tmp_path / "stream.jsonl"): f"file:{tmp_path / 'stream.jsonl'}",
    }
    for address, name in places.items():
        sink = addresses.sink(address.replace("/1?", "?"))
        sink.send([Letter("key", b"data")])
        source = addresses.source(address)
        assert source.name == name
        if not name.startswith("kafka"):  # which has chosen the partition by the key
            assert [message.data for message in source.read(None, 10, 5.0)] == [b"data"]
        for end in (source, sink):
            end.close()


@pytest.mark.parametrize(
    "address",
    ["http://host/visits", "nats://host", "nats://host/visits?a=b", "redis://host/0", "kafka://host:9092", "kafka://host/topic/x"],
)
def test_what_is_no_address_is_refused_without_its_password(address):
    with pytest.raises(InvalidValue, match=r"[Aa] stream .*must be") as caught:
        addresses.source(address.replace("host", "user:secret@host"))
    assert "secret" not in str(caught.value)


def test_a_client_that_is_not_installed_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "recsdk_streams.nats", None)
    with pytest.raises(MissingExtra, match=r"nats:// needs a client: pip install 'recsdk-streams\[nats\]'"):
        addresses.source("nats://localhost/visits")


def test_what_nats_is_sent_again_counts_once_and_what_differs_counts(nats_server):
    bench = NatsBench(nats_server)
    letters = [Letter("a\r\nb: \u00e9", b"1"), Letter("a\r\nb: \u00e9", b"2"), *(Letter(str(number), b"3") for number in range(250))]
    sink, source = bench.sink(), bench.source()
    sink.send(letters)
    sink.send(letters)
    found = source.read(None, 1000, 1.0)
    while more := source.read(found[-1].offset, 1000, 0.0):
        found += more
    assert [message.data for message in found] == [letter.data for letter in letters]
    sink.close()
    source.close()


def test_messages_of_nats_that_are_there_and_do_not_come_are_no_end(nats_server, monkeypatch):
    from recsdk_streams import nats as adapter

    monkeypatch.setattr(adapter, "DELIVERY", 0.1)
    monkeypatch.setattr(adapter, "PATIENCE", 0.3)
    bench = NatsBench(nats_server)
    bench.put([b"1", b"2"])
    source = bench.source()
    source.read(None, 1, 1.0)

    async def late(self, *arguments, **options):
        raise adapter.TimeoutError

    with monkeypatch.context() as patch:
        patch.setattr(type(source._reader), "fetch", late)
        with pytest.raises(StreamError, match="did not come"):
            source.read("1", 1, 0.0)
    bench.do(lambda js: js.delete_msg(bench.name, 2))
    assert source.read("1", 1, 0.0) == []
    source.close()


def test_a_port_that_another_process_took_is_no_end(monkeypatch):
    from recsdk_streams import local

    if missing("redis"):
        pytest.skip(missing("redis"))
    free = local._free_port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        ports = iter([taken.getsockname()[1]])
        monkeypatch.setattr(local, "_free_port", lambda: next(ports, None) or free())
        with LocalServer("redis") as server:
            assert server.port != taken.getsockname()[1]
