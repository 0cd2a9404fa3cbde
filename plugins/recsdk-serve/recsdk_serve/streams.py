"""Streams of Server-Sent Events, as bare ASGI applications."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from recsdk_serve import messages as m
from recsdk_serve.endpoint import ENCODER
from recsdk_serve.events import Unread, taken
from recsdk_serve.guard import Refused

if TYPE_CHECKING:
    from recsdk_serve.app import Front

HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


class Stream:
    """Answers with the events that are asked for, until they end or the client leaves or does not read.

    Args:
        front: what lets clients in.
        name: of the stream, for the log.
        scope: that a key must have.
        asked: returns what a request asks for.
    """

    def __init__(self, front: Front, name: str, scope: str, asked: Callable[[Request], m.FollowSlates | m.FollowDecisions]) -> None:
        self._front, self._name, self._scope, self._asked = front, name, scope, asked

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers a call."""
        began, status, client, error = time.perf_counter(), 200, "", ""
        try:
            client = self._front.allowed(scope, self._scope).name
            with self._front.followed(self._asked(Request(scope))) as events:
                async with contextlib.aclosing(self._front.while_allowed(scope, self._scope, events)) as lines:
                    answer = StreamingResponse(lines, media_type="text/event-stream", headers=HEADERS)
                    await answer(scope, receive, lambda message: taken(send(message)))
        except Unread:
            error = "Unread"  # the server closes the connection, since the answer is not whole
        except Refused as refused:
            status, error = refused.status, refused.problem.error
            await Response(ENCODER.encode(refused.problem), status, refused.headers, "application/json")(scope, receive, send)
        finally:
            self._front.log(self._name, status, began, client, error=error)


def decisions(request: Request) -> m.FollowDecisions:
    """Returns from where on decisions are asked for."""
    return m.FollowDecisions(last=request.headers.get("last-event-id", ""))


def slates(request: Request) -> m.FollowSlates:
    """Returns whose slates are asked for.

    Raises:
        Refused: 422.
    """
    user, size = request.query_params.get("user", ""), request.query_params.get("size", "1")
    is_user = 0 < len(user) <= m.LONGEST_NAME
    if not is_user or not re.fullmatch(r"[1-9]\d?|100", size, re.ASCII):
        wrong = "size" if is_user else "user"
        told = f"user must be the user's key, of at most {m.LONGEST_NAME} characters, and size a whole number in [1, 100]."
        raise Refused(422, "WrongType", told, wrong)
    return m.FollowSlates(user=user, size=int(size))
