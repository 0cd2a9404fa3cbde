"""Calls that come from a stream: all of a block, and how far the stream was read by then, are one transaction of the ledger."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from recsdk.errors import Conflict, InvalidAnswer, InvalidValue, RecsdkError, Unknown, UnknownPlugin, one_of
from recsdk.live.base import OUTBOX
from recsdk.live.loop import Loop
from recsdk.live.turns import Block, done

FED = "fed/"
"""Where the ledger keeps how far a stream was read, whose name follows."""

CALLS = ("recommend", "reward", "reward_slate", "signal", "correct", "shown", "not_shown", "add_items", "change_items", "remove_items")
"""The methods of a recommender that a stream can call."""

LAST = ("add_items", "change_items", "remove_items")
"""Those that come last in a block, since the catalogue changes once they are durable."""


class Call(NamedTuple):
    """A call of a recommender that a message asks for.

    Attributes:
        method: one of `recommend`, `reward`, `reward_slate`, `signal`, `correct`, `shown`, `not_shown`, `add_items`, `change_items`,
            `remove_items`.
        arguments: of the method, by name.
        time: seconds since the epoch, which the call takes for now.

    Example:
        >>> Call("recommend", {"request": {"user_id": "ann"}, "decision_id": "d1"}, time=1_700_000_000.0).method
        'recommend'
    """

    method: str
    arguments: Mapping[str, Any]
    time: float


class Fed(NamedTuple):
    """The place up to which a recommender was fed.

    Attributes:
        position: where the stream goes on, in whatever form its reader understands.
        outbox: what is still to be sent because of the calls before; a user that is forgotten empties it.

    Example:
        >>> Fed(b"17", outbox=b"").position
        b'17'
    """

    position: bytes
    outbox: bytes = b""


class _Again(Exception):
    """A call was refused when it had written already: all is to be done again without it."""

    def __init__(self, place: int, error: RecsdkError) -> None:
        super().__init__(place)
        self.place = place
        self.error = error


def fed(loop: Loop, stream: str) -> Fed | None:
    """Returns how far a stream was read; None for one that never was."""
    position, outbox = loop.turns.read(lambda: (loop.ledger.get(FED + stream), loop.ledger.get(OUTBOX + stream)))
    return None if position is None else Fed(position, outbox or b"")


def feed(
    loop: Loop, methods: Mapping[str, Callable[..., Any]], stream: str, calls: Sequence[Call], place: Callable[[list[Any]], Fed]
) -> list[Any]:
    """Is `Recommender.feed`."""
    for number, call in enumerate(calls):
        one_of("method", call.method, CALLS)
        if call.method in LAST and number < len(calls) - 1:
            raise InvalidValue(f"{call.method} must be the last of the calls that are fed at once, got it at {number} of {len(calls)}.")
    refused = dict[int, RecsdkError]()
    while True:
        try:
            answers, told = _together(loop, methods, stream, calls, place, refused)
            break
        except _Again as again:
            refused[again.place] = again.error
    done(told)
    return answers


def _together(
    loop: Loop,
    methods: Mapping[str, Callable[..., Any]],
    stream: str,
    calls: Sequence[Call],
    place: Callable[[list[Any]], Fed],
    refused: Mapping[int, RecsdkError],
) -> tuple[list[Any], list[Callable[[], Any]]]:
    def begin() -> Block:
        return Block(0.0 if loop.settlement is None else loop.settlement.now(0.0), loop.decider.arms.num_drawn)

    def work(block: Block) -> list[Any]:
        answers = list[Any]()
        for number, call in enumerate(calls):
            block.time, block.torn, block.fault = call.time, None, None
            answer = functools.partial(methods[call.method], **call.arguments)
            answers.append(refused[number] if number in refused else _answered(loop, block, number, answer))
        position, outbox = place(answers)
        loop.ledger.put(FED + stream, position)
        loop.ledger.put(OUTBOX + stream, outbox)
        return answers

    with loop.changing_items:  # in the order in which `add_items` takes the two
        return loop.turns.together(begin, work)


def _answered(loop: Loop, block: Block, number: int, answer: Callable[[], Any]) -> Any:
    """Returns the answer of a call, or the error by which it was refused, when it has written nothing."""
    num_learned = loop.learner.num_learned
    try:
        found = answer()
    except (InvalidValue, Unknown, Conflict) as error:
        if isinstance(error, InvalidAnswer | UnknownPlugin):
            raise
        if block.fault is not None:
            raise block.fault from error
        is_clean = block.torn is None or (block.torn is error and loop.turns.is_refusal(error))
        if is_clean and loop.learner.num_learned == num_learned:
            return error
        raise _Again(number, error) from error
    if block.torn is not None:  # by what the call does beside its own work, and goes on without
        raise block.torn
    return found
