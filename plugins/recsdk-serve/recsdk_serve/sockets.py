"""The streams of events over a WebSocket: one subscription a connection, made by its first message."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, MutableMapping
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from recsdk_serve import messages as m
from recsdk_serve.events import MESSAGES, Unread, taken
from recsdk_serve.guard import Limits, Refused, decoded, refusal
from recsdk_serve.service import LOGGER

if TYPE_CHECKING:
    from recsdk_serve.app import Front

OVER, GOING_AWAY, REFUSED = 1000, 1001, 4000
"""Close codes: the stream is over, the service is about to stop; a refusal has 4000 and the status that HTTP would have."""
LONGEST_REASON = 120
"""Bytes of the reason of a close, of 123 that the protocol allows."""


async def follow(front: Front, socket: WebSocket) -> None:
    """Answers a WebSocket: reads what it asks for, and sends events until one side leaves."""
    await socket.accept()
    began, name, client, status, wrong = time.perf_counter(), "ws", "", 200, ""
    try:
        asked = await _asked(socket, front.limits)
        name, scope = ("slates", "decide") if isinstance(asked, m.FollowSlates) else ("decisions", "read")
        call = _with_key(socket.scope, asked.key)
        client = front.allowed(call, scope).name
        with front.followed(asked, MESSAGES) as events:
            await _exchange(socket, front.while_allowed(call, scope, events))
        front.allowed(call, scope)
        await taken(socket.close(GOING_AWAY if front.hub.has_ended else OVER))
    except WebSocketDisconnect:
        pass  # nobody is to be told
    except Unread:
        wrong = "Unread"  # the server closes the connection
    except Exception as error:
        refused = refusal(error)
        status, wrong = refused.status, refused.problem.error
        if status == 500:
            LOGGER.error("A WebSocket has failed.", exc_info=error)
        with contextlib.suppress(Unread, WebSocketDisconnect, RuntimeError):  # it has left
            await taken(_refuse(socket, refused))
    finally:
        front.log(name, status, began, client, error=wrong)


async def _asked(socket: WebSocket, limits: Limits) -> m.FollowSlates | m.FollowDecisions:
    """Reads the first message.

    Raises:
        Refused: 400 and 422 for what is no subscription, 413 for one that is too large, 408 for one that does not come.
    """
    try:
        async with asyncio.timeout(limits.seconds):
            text = _text(await socket.receive())
    except TimeoutError as error:
        raise Refused(408, "TooSlow", f"The subscription must be there within {limits.seconds:g} s.") from error
    data = text.encode("utf-8", "surrogatepass")
    if len(data) > limits.body:
        raise Refused(413, "TooLarge", f"The subscription must have at most {limits.body} bytes.")
    found: m.FollowSlates | m.FollowDecisions = decoded(data, m.FollowSlates | m.FollowDecisions, limits)
    return found


def _text(message: MutableMapping[str, Any]) -> str:
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", OVER))
    text = message.get("text")
    if text is None:
        raise Refused(400, "NotJson", "The subscription must be a text, and no bytes.")
    return str(text)


def _with_key(call: MutableMapping[str, Any], key: str | None) -> MutableMapping[str, Any]:
    """Returns a call with a key from its first message: a browser can give no header."""
    if key is None:
        return call
    last = (b"authorization", b"Bearer " + key.encode("latin-1", "replace"))  # the last header of a name is the one that counts
    return {**call, "headers": [*call["headers"], last]}


async def _exchange(socket: WebSocket, events: AsyncGenerator[str, None]) -> None:
    """Sends events until they end.

    Raises:
        WebSocketDisconnect: when the client has left.
        Refused: 400, when it says something more.
    """
    async with contextlib.aclosing(events):
        sending, hearing = asyncio.create_task(_send(socket, events)), asyncio.create_task(socket.receive())
        try:
            await asyncio.wait((sending, hearing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, hearing):
                task.cancel()
            outcomes = await asyncio.gather(sending, hearing, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, dict):
            _text(outcome)
            raise Refused(400, "TooMuch", "A connection has one subscription: open another.")
        if isinstance(outcome, Exception):
            raise outcome


async def _send(socket: WebSocket, events: AsyncGenerator[str, None]) -> None:
    async for text in events:
        if text:
            await taken(socket.send_text(text))


async def _refuse(socket: WebSocket, refused: Refused) -> None:
    """Tells what is wrong, and closes."""
    problem = refused.problem
    await socket.send_text(MESSAGES.event("problem", msgspec.json.encode(problem).decode(), None))
    reason = problem.message.encode()[:LONGEST_REASON].decode("utf-8", "ignore")
    await socket.close(REFUSED + refused.status, reason)
