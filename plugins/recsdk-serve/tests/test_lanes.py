"""The thread that works for all: what waits is done together, and no more waits than may."""

import asyncio
import threading

import pytest
from recsdk_serve.guard import Refused
from recsdk_serve.lanes import Lane


class Work:
    """Echoes what it is given, once it may."""

    def __init__(self):
        self.batches, self.begun, self.may = [], threading.Event(), threading.Event()

    def __call__(self, asked):
        self.batches.append(list(asked))
        self.begun.set()
        assert self.may.wait(10)
        return [ValueError(one) if one == "bad" else one for one in asked]


async def busy(work, **options):
    """Returns a lane that works on "first", and the task that waits for it."""
    lane = Lane(work, "lane", **{"waiting": 3, "most": 10} | options)
    first = asyncio.create_task(lane.ask("first"))
    await asyncio.to_thread(work.begun.wait, 10)
    return lane, first


def test_what_gathers_while_it_works_is_done_together_and_each_gets_its_own_answer():
    async def run(work):
        lane, first = await busy(work)
        others = [asyncio.create_task(lane.ask(name)) for name in ("a", "bad", "b")]
        await asyncio.sleep(0)
        work.may.set()
        found = await asyncio.gather(first, *others, return_exceptions=True)
        assert [str(one) for one in found] == ["first", "a", "bad", "b"]
        assert isinstance(found[2], ValueError)
        assert work.batches == [["first"], ["a", "bad", "b"]]
        lane.end()

    asyncio.run(run(Work()))


def test_no_batch_is_larger_than_the_largest():
    async def run(work):
        lane, first = await busy(work, most=2)
        others = [asyncio.create_task(lane.ask(name)) for name in "abc"]
        await asyncio.sleep(0)
        work.may.set()
        await asyncio.gather(first, *others)
        assert work.batches == [["first"], ["a", "b"], ["c"]]
        lane.end()

    asyncio.run(run(Work()))


def test_where_too_many_wait_the_newest_is_refused_at_once_and_told_when_to_come_again():
    async def run(work):
        lane, first = await busy(work, waiting=2)
        others = [asyncio.create_task(lane.ask(name)) for name in "ab"]
        await asyncio.sleep(0)
        with pytest.raises(Refused) as caught:
            await lane.ask("c")
        assert (caught.value.status, caught.value.headers) == (429, {"retry-after": "1"})
        work.may.set()
        assert await asyncio.gather(first, *others) == ["first", "a", "b"]
        assert await lane.ask("c") == "c"
        lane.end()

    asyncio.run(run(Work()))


def test_what_waits_is_done_before_the_thread_ends_and_nothing_is_taken_after():
    async def run(work):
        lane, first = await busy(work)
        other = asyncio.create_task(lane.ask("a"))
        await asyncio.sleep(0)
        ending = asyncio.create_task(asyncio.to_thread(lane.end))
        while not lane._ended:
            await asyncio.sleep(0.001)
        work.may.set()
        await ending
        assert await asyncio.gather(first, other) == ["first", "a"]
        with pytest.raises(Refused):
            await lane.ask("b")

    asyncio.run(run(Work()))


def test_a_client_that_leaves_spoils_no_other_and_is_not_served():
    async def run(work):
        lane, first = await busy(work)
        others = [asyncio.create_task(lane.ask(name)) for name in "ab"]
        await asyncio.sleep(0)
        others[0].cancel()
        await asyncio.sleep(0)
        work.may.set()
        assert await asyncio.gather(first, others[1]) == ["first", "b"]
        assert work.batches == [["first"], ["b"]]
        lane.end()

    asyncio.run(run(Work()))
