"""An operation as a bare ASGI application: no request object is made of a call, which would take as long as a decision."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from recsdk_serve import messages as m
from recsdk_serve.guard import body, decoded, refusal
from recsdk_serve.lanes import Lane
from recsdk_serve.operations import Operation
from recsdk_serve.service import LOGGER

if TYPE_CHECKING:
    from recsdk_serve.app import Front

TRACE = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""A traceparent of the W3C."""
ENCODER = msgspec.json.Encoder()


class Endpoint:
    """Answers the calls of an operation.

    Args:
        front: what lets clients in.
        operation: what is done.
    """

    def __init__(self, front: Front, operation: Operation) -> None:
        self._front, self._operation = front, operation

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers a call."""
        began, headers, client, error, extra = time.perf_counter(), dict(scope["headers"]), "", "", {}
        trace = headers.get(b"traceparent", b"").decode("latin-1")
        trace = trace if TRACE.fullmatch(trace) else ""
        try:
            caller = self._front.allowed(scope, self._operation.scope)
            client = caller.name
            status, answer = 200, await self._answer(headers, receive)
        except Exception as cause:
            refused = refusal(cause, self._operation.takes)
            status, answer, extra, error = refused.status, refused.problem, refused.headers, refused.problem.error
            if status == 500:
                LOGGER.error("%s has failed.", self._operation.name, exc_info=cause)
        data = ENCODER.encode(answer)
        sent = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(data)), *_headers(extra)]
        sent += [(b"traceparent", trace.encode())] if trace else []
        await send({"type": "http.response.start", "status": status, "headers": sent})
        await send({"type": "http.response.body", "body": data})
        self._front.note(self._operation.name, status, began, client, trace[3:35], error)

    async def _answer(self, headers: Mapping[bytes, bytes], receive: Any) -> Any:
        operation, service = self._operation, self._front.service
        if operation.method == "GET":
            asked: Any = m.Nothing()
        else:
            asked = decoded(await body(headers, receive, self._front.limits), operation.takes, self._front.limits)
        if isinstance(asked, m.Decide):
            return await service.quick.ask(asked)
        do = getattr(service, operation.name)
        lane: Lane = getattr(service, operation.lane)
        answer = await lane.ask(lambda: do(asked))
        if isinstance(asked, m.Forget):
            self._front.hub.forget(asked.user)
        if operation.evidence == "all":
            self._front.hub.evidence()
        elif operation.evidence == "user":
            self._front.hub.evidence(asked.decision_id, asked.user)
        return answer


def _headers(extra: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in extra.items()]
