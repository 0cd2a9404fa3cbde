"""What the service does for each call, with one recommender; the methods run in the threads of its lanes."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from recsdk import Recommender
from recsdk.errors import RecsdkError
from recsdk.live.local import LocalDecision
from recsdk_serve import messages as m
from recsdk_serve.guard import Limits, refusal
from recsdk_serve.lanes import Lane
from recsdk_serve.watch import Watch

LOGGER = logging.getLogger("recsdk_serve")
MOST_TOGETHER, MOST_REFUSED = 64, 8


class Service:
    """A recommender that is open, with a lane for decisions and rewards, one for all that takes long, and one for looking at its folder.

    Args:
        recommender: open; it is closed by `close`.
        limits: of what may wait.
    """

    def __init__(self, recommender: Recommender, limits: Limits) -> None:
        self.recommender = recommender
        self.quick = Lane(self._together, "recsdk-quick", waiting=limits.waiting, most=MOST_TOGETHER)
        self.slow = Lane(_one_by_one, "recsdk-slow", waiting=16, most=1)
        self.reading = Lane(_one_by_one, "recsdk-reading", waiting=64, most=1)
        self._watch = Watch(recommender.folder)

    async def warm(self, request: Mapping[str, Any]) -> None:
        """Makes a decision that does not count, so that the first client need not wait for what is loaded or compiled once."""
        name = f"warm-{secrets.token_hex(8)}"
        asked = m.Decide(request=dict(request), user="recsdk-serve", decision_id=name, at_most=True, deferred=True)
        try:
            await self.quick.ask(asked)
        except Exception:
            LOGGER.warning("The service is not warm: it could not decide on %r.", sorted(request), exc_info=True)

    def close(self) -> None:
        """Does what waits, writes a snapshot and releases the folder."""
        self._watch.end()
        for lane in (self.quick, self.slow, self.reading):
            lane.end()
        self.recommender.close()

    def _together(self, jobs: Sequence[Any]) -> list[Any]:
        """Answers jobs, each an asked `Decide` or a function; decisions are made in one go where there are several."""
        asked = {place: arguments(job) for place, job in enumerate(jobs) if isinstance(job, m.Decide)}
        answers = self._decided(asked)
        for place, job in enumerate(jobs):
            if place not in answers:
                answers[place] = _tried(lambda job=job, place=place: self._decide(asked[place]) if place in asked else job())  # type: ignore[misc]
        return [answers[place] for place in range(len(jobs))]

    def _decided(self, asked: Mapping[int, dict[str, Any]]) -> dict[int, Any]:
        """Returns the slates of those that can be decided together; the others are to be asked for by themselves, and meet their errors.

        One that is refused is left out and the rest is asked for again. After a few of these nobody is decided together.
        """
        left = dict(asked)
        for _ in range(MOST_REFUSED):
            if len(left) < 2:
                break
            try:
                return dict(zip(left, map(slate, self.recommender.recommend_many(left.values())), strict=True))
            except Exception as error:
                found = re.match(r"requests\[(\d+)\]: ", str(error))
                if found is None:
                    break
                del left[list(left)[int(found[1])]]
        return {}

    def _decide(self, asked: dict[str, Any]) -> m.Slate:
        return slate(self.recommender.recommend(**asked))

    def decide_batch(self, asked: m.DecideBatch) -> m.Slates:
        """Decides many requests."""
        return m.Slates(slates=list(map(slate, self.recommender.recommend_many(map(arguments, asked.requests)))))

    def reward(self, asked: m.Reward) -> m.Rewarded:
        """Takes a reward."""
        new = self.recommender.reward(asked.decision_id, asked.value, item=asked.item, position=asked.position, reward_id=asked.reward_id)
        return m.Rewarded(new=new)

    def reward_batch(self, asked: m.RewardBatch) -> m.Results:
        """Takes many rewards, each by itself."""
        return m.Results(results=[self._result(one) for one in asked.rewards])

    def _result(self, asked: m.Reward) -> m.Result:
        try:
            return m.Result(new=self.reward(asked).new)
        except RecsdkError as error:
            return m.Result(new=False, problem=refusal(error, m.Reward).problem)

    def signal(self, asked: m.Signal) -> m.Received:
        """Takes a signal."""
        told = {name: getattr(asked, name) for name in m.Signal.__struct_fields__ if name != "name"}
        return m.Received(receipt=str(self.recommender.signal(asked.name, **told)))

    def correct(self, asked: m.Correct) -> m.Received:
        """Corrects a signal or a reward."""
        return m.Received(receipt=str(self.recommender.correct(asked.event_id, asked.value)))

    def shown(self, asked: m.Shown) -> m.Received:
        """Notes whether a decision was shown."""
        say = self.recommender.shown if asked.shown else self.recommender.not_shown
        return m.Received(receipt=str(say(asked.decision_id)))

    def add_items(self, asked: m.Items) -> m.Catalogue:
        """Adds items."""
        self.recommender.add_items(asked.items)
        return self._catalogue()

    def change_items(self, asked: m.Items) -> m.Catalogue:
        """Changes items."""
        self.recommender.change_items(asked.items)
        return self._catalogue()

    def remove_items(self, asked: m.ItemIds) -> m.Catalogue:
        """Removes items."""
        self.recommender.remove_items(asked.ids)
        return self._catalogue()

    def forget(self, asked: m.Forget) -> m.Forgotten:
        """Forgets a user."""
        with self._watch.away():
            return m.Forgotten(report=self.recommender.forget(asked.user)._asdict())

    def status(self, asked: m.Nothing) -> m.Status:
        """Tells how the recommender does."""
        standings = [m.Challenger(**standing._asdict()) for standing in self.recommender.standings()]
        return m.Status(look=self._watch.look(), models=self.models(asked), challengers=standings)

    def models(self, asked: m.Nothing) -> m.Models:
        """Tells what serves."""
        del asked
        shop = self.recommender
        changes = [m.Change(reason=one.reason, model=one.model, policy=one.policy, time=one.time) for one in shop.published]
        return m.Models(
            policy=changes[-1].policy if changes else "",
            num_learned=shop.num_learned,
            num_items=len(shop.catalogue),
            durability=shop.durability,
            published=changes,
        )

    def publish(self, asked: m.Publish) -> m.Models:
        """Lets other scorers serve."""
        self.recommender.swap(scorers=asked.scorers)
        return self.models(m.Nothing())

    def roll_back(self, asked: m.Nothing) -> m.Models:
        """Goes back to what served before."""
        self.recommender.rollback()
        return self.models(asked)

    def export(self, asked: m.Exporting) -> m.Export:
        """Gives what decides now."""
        return m.Export(data=self.recommender.export(keep=asked.keep))

    def take(self, asked: m.LocalDecisions) -> m.Results:
        """Takes decisions that were made elsewhere."""
        return m.Results(results=list(map(_became, self.recommender.take(list(map(_elsewhere, asked.decisions))))))

    def _catalogue(self) -> m.Catalogue:
        return m.Catalogue(num_items=len(self.recommender.catalogue))


def arguments(asked: m.Decide) -> dict[str, Any]:
    """Returns the arguments of `recommend`: the request, and those that are not the default."""
    found = {"request": asked.request}
    for name, default in DEFAULTS.items():
        value = getattr(asked, name)
        if value != default:
            found[name] = value
    return found


DEFAULTS = {name: getattr(m.Decide(), name) for name in m.Decide.__struct_fields__ if name != "request"}


def _elsewhere(asked: m.LocalDecision) -> LocalDecision:
    told = arguments(asked.asked)
    return LocalDecision(asked.export, told.pop("decision_id", ""), asked.time, told, asked.digest)


def _became(answer: bool | RecsdkError) -> m.Result:
    if isinstance(answer, bool):
        return m.Result(new=answer)
    return m.Result(new=False, problem=refusal(answer, m.LocalDecision).problem)


def slate(found: Any) -> m.Slate:
    """Returns a slate as it is sent."""
    return m.Slate(decision_id=found.decision_id, ids=found.ids, propensities=found.propensities, repeats=found.repeats)


def _tried(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except Exception as error:
        return error


def _one_by_one(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    return [_tried(job) for job in jobs]
