"""What `recsdk bench-serve` measures."""

import asyncio
import json

import pytest
from recsdk_serve.bench import _at_rate, bench_serve

from recsdk.errors import InvalidValue


class Stalling:
    """A connection whose service answers at once, but for one call that takes long."""

    def __init__(self, stalls):
        self.stalls = stalls

    async def ask(self, call):
        if call == self.stalls:
            await asyncio.sleep(0.3)
        return b"500" if call == b"bad" else b"200{}"


def test_a_stall_is_charged_to_all_calls_that_were_due_meanwhile():
    calls = [b"%d" % number for number in range(60)]
    times, refused, took = asyncio.run(_at_rate([Stalling(b"10")], calls, rate=100.0))
    assert (len(times), refused) == (60, 0)
    assert sum(seconds > 0.05 for seconds in times) >= 20  # 30 were due meanwhile; only one was under way
    assert took >= 0.59


def test_calls_are_not_made_before_they_are_due():
    _, _, took = asyncio.run(_at_rate([Stalling(None), Stalling(None)], [b"1"] * 20, rate=100.0))
    assert took >= 0.19


def test_what_is_refused_is_counted():
    _, refused, _ = asyncio.run(_at_rate([Stalling(None)], [b"1", b"bad", b"1"], rate=1_000.0))
    assert refused == 1


@pytest.mark.parametrize("call", ["decide", "decide:batch", "reward"])
def test_it_measures_a_service(address, capsys, call):
    bench_serve(address, call=call, rate=50.0, seconds=0.3, connections=2, batch=4, json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["refused"] == 0
    assert 0 < found["p50"] <= found["p99"] <= found["most"]
    assert found["answered"] > 0
    bench_serve(address, call="decide", rate=50.0, seconds=0.1)
    assert "a second; p50" in capsys.readouterr().out


@pytest.mark.parametrize("options", [{"rate": 0.0}, {"seconds": -1.0}, {"connections": 0}, {"batch": 0}, {"call": "forget"}])
def test_what_cannot_be_measured_is_refused(options):
    with pytest.raises(InvalidValue):
        bench_serve("http://127.0.0.1:1", **options)
    with pytest.raises(InvalidValue, match="url must be"):
        bench_serve("file:///etc/passwd")
