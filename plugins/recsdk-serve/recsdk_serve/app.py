"""The web application: routes, keys, logs and the life of the service, around `Service`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from importlib import metadata
from typing import Any

import prometheus_client
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from recsdk import Recommender
from recsdk.errors import InvalidValue
from recsdk.live.exporters import PrometheusObserver
from recsdk.live.observe import Notice, Observer
from recsdk_serve import messages as m
from recsdk_serve import pages, sockets, streams
from recsdk_serve.endpoint import ENCODER, Endpoint
from recsdk_serve.events import SERVER_SENT, Form, Hub
from recsdk_serve.guard import Limits, Refused, refusal, require_local, require_same_site
from recsdk_serve.keys import SCOPES, Client, Keys
from recsdk_serve.operations import OPERATIONS, openapi
from recsdk_serve.service import LOGGER, Service
from recsdk_serve.signals import hearing
from recsdk_serve.streams import Stream

ACCESS = logging.getLogger("recsdk_serve.access")
ANYBODY = Client("", frozenset(SCOPES))


def make_app(
    opening: Callable[[Observer], Recommender],
    *,
    keys: Keys | None = None,
    limits: Limits | None = None,
    warming: Mapping[str, Any] | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Starlette:
    """Makes a web application of a recommender, for a program of one's own: with parts, rules or a feedback that no command names.

    Args:
        opening: opens the recommender when the application starts, with the observer that it is given. It is closed when that stops.
        keys: of clients; without any everybody may do everything, so only the machine itself should reach it.
        limits: of what clients may ask for.
        warming: features of a request that is decided before the service is ready, so that models are loaded; the decision is deferred
            and counts for nothing. None for none.
        is_stopping: tells whether the server is about to stop; streams then end, and the service is not ready any more. A server that runs
            in the main thread and stops at SIGTERM or SIGINT, as uvicorn does, needs none.

    Example:
        >>> import recsdk
        >>> items = [{"id": "tea"}, {"id": "coffee"}]
        >>> app = make_app(lambda observer: recsdk.Recommender.open("cafe", items=items, policy="lin-ts", observer=observer))
        >>> from starlette.testclient import TestClient
        >>> with TestClient(app) as client:
        ...     slate = client.post("/v1/decide", json={"size": 2}).json()
        >>> sorted(slate["ids"])
        ['coffee', 'tea']
    """
    front = Front(opening, keys, limits or Limits(), warming, is_stopping)
    routes: list[BaseRoute] = [Route(each.path, Endpoint(front, each), methods=[each.method]) for each in OPERATIONS]
    routes += [
        Route("/v1/events/decisions", Stream(front, "decisions", "read", streams.decisions), methods=["GET"]),
        Route("/v1/events/slates", Stream(front, "slates", "decide", streams.slates), methods=["GET"]),
        WebSocketRoute("/v1/ws", front.socket),
        Route("/v2", front.metadata),
        Route("/v2/health/live", front.live),
        Route("/v2/health/ready", front.ready),
        Route("/metrics", front.metrics),
        Route("/openapi.json", front.openapi),
        *pages.ROUTES,
    ]
    handlers = {HTTPException: _missing, Refused: _refused, Exception: _refused}
    app = Starlette(routes=routes, lifespan=front.life, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return app


class Front:
    """What stands between the network and the service: who calls, and whether it may."""

    def __init__(
        self,
        opening: Callable[[Observer], Recommender],
        keys: Keys | None,
        limits: Limits,
        warming: Mapping[str, Any] | None,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._opening, self._keys, self.limits, self._warming, self._is_stopping = opening, keys, limits, warming, is_stopping
        self._is_stopped = False
        self._service: Service | None = None
        self.hub: Hub
        self._registry = prometheus_client.CollectorRegistry()
        self._seconds = prometheus_client.Histogram(
            "recsdk_http_request_duration_seconds", "Time of a request.", ("operation", "status"), registry=self._registry
        )

    @contextlib.asynccontextmanager
    async def life(self, app: Starlette) -> AsyncIterator[None]:
        """Opens the recommender and warms it; at the end answers what waits and closes it."""
        del app
        self.hub = Hub(self.limits)
        exported = PrometheusObserver(registry=self._registry)

        def observe(notice: Notice) -> None:
            exported(notice)
            self.hub.notice(notice)

        self._is_stopped = False
        with hearing(self._stop):
            service = Service(await asyncio.to_thread(self._opening, observe), self.limits)
            watching = asyncio.create_task(self._watch())
            try:
                if self._warming is not None:
                    await service.warm(self._warming)
                self._service = service
                yield
            finally:
                self._service = None
                watching.cancel()
                self.hub.end()
                await asyncio.to_thread(service.close)

    def _stop(self) -> None:
        self._is_stopped = True

    def is_stopping(self) -> bool:
        """Tells whether the server is about to stop."""
        return self._is_stopped or self._is_stopping()

    async def _watch(self) -> None:
        """Ends the streams when the server is about to stop: it waits for them."""
        while not self.is_stopping():
            await asyncio.sleep(0.2)
        self.hub.end()

    @property
    def service(self) -> Service:
        """The service.

        Raises:
            Refused: 503, before it has begun and after it has ended.
        """
        if self._service is None:
            raise Refused(503, "NotReady", "The service is not open.", headers={"retry-after": "1"})
        return self._service

    def allowed(self, call: Mapping[str, Any], scope: str) -> Client:
        """Returns who calls, of the scope of ASGI.

        Raises:
            Refused: 401 without a key that somebody has, 403 without the scope, 503 where the keys cannot be read. Without keys, 403 for a
                call of another machine, or that names another host, or that a browser makes for a page of another site.
        """
        headers = dict(call["headers"])
        if self._keys is None:
            require_local(call)
            require_same_site(headers)
            return ANYBODY
        kind, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        try:
            client = self._keys.client(key.strip()) if kind.lower() == "bearer" else None
        except (OSError, InvalidValue) as error:
            LOGGER.error("Nobody is let in: the keys cannot be read: %s", error)
            raise Refused(503, "NotReady", "Nobody can be let in now.", headers={"retry-after": "10"}) from error
        if client is None:
            raise Refused(401, "NoKey", "Give a key: `Authorization: Bearer recsdk_...`.", headers={"www-authenticate": "Bearer"})
        if scope not in client.scopes:
            raise Refused(403, "NoScope", f"This needs a key with the scope {scope!r}.")
        return client

    def note(self, operation: str, status: int, began: float, client: str, trace: str, error: str = "") -> None:
        """Counts a call and writes its line of the access log."""
        self._seconds.labels(operation, status).observe(time.perf_counter() - began)
        self.log(operation, status, began, client, trace, error)

    def log(self, operation: str, status: int, began: float, client: str, trace: str = "", error: str = "") -> None:
        """Writes a line of the access log: no id, no user, nothing of what was asked. A stream has one once it is over."""
        if ACCESS.isEnabledFor(logging.INFO):
            told = {"operation": operation, "status": status, "ms": round((time.perf_counter() - began) * 1e3, 3)}
            more = {"client": client, "trace": trace, "error": error}
            ACCESS.info(json.dumps({"time": round(time.time(), 3), **told, **{name: value for name, value in more.items() if value}}))

    @contextlib.contextmanager
    def followed(self, asked: m.FollowSlates | m.FollowDecisions, form: Form = SERVER_SENT) -> Iterator[AsyncGenerator[str, None]]:
        """Gives the stream that is asked for, which has a place among those that may be open.

        Raises:
            Refused: 422 for a request of another user, whose stream would go on when that one is forgotten; 429, where there are too many.
        """
        with self.hub.place():
            if isinstance(asked, m.FollowDecisions):
                yield self.hub.decisions(asked.last, form)
                return
            request = {"user_id": asked.user, **asked.request}
            if str(request["user_id"]) != asked.user:
                told = f"request.user_id must be the user of the stream or left out, got {request['user_id']!r:.100}."
                raise Refused(422, "WrongType", told, "request.user_id")
            wanted = m.Decide(request=request, user=asked.user, size=asked.size, at_most=True, deferred=True)
            yield self.hub.slates(asked.user, lambda: self.service.quick.ask(wanted), form)

    async def socket(self, socket: WebSocket) -> None:
        """Streams either over a WebSocket."""
        await sockets.follow(self, socket)

    async def while_allowed(self, call: Mapping[str, Any], scope: str, events: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        """Ends a stream once its key has been taken away: that is asked before each event and each comment."""
        async with contextlib.aclosing(events):
            async for text in events:
                try:
                    self.allowed(call, scope)
                except Refused:
                    return
                yield text

    async def metadata(self, request: Request) -> Response:
        """Tells what this is."""
        del request
        return _json(m.Metadata(name="recsdk", version=metadata.version("recsdk"), extensions=[]))

    async def live(self, request: Request) -> Response:
        """Tells that the process answers."""
        del request
        return _json(m.Live(live=True))

    async def ready(self, request: Request) -> Response:
        """Tells whether it takes requests."""
        del request
        is_ready = self._service is not None and not self.is_stopping()
        return _json(m.Ready(ready=is_ready), 200 if is_ready else 503)

    async def metrics(self, request: Request) -> Response:
        """Shows the metrics for Prometheus."""
        self.allowed(request.scope, "read")
        return Response(prometheus_client.generate_latest(self._registry), media_type=prometheus_client.CONTENT_TYPE_LATEST)

    async def openapi(self, request: Request) -> Response:
        """Describes the service."""
        del request
        return _json(openapi(metadata.version("recsdk-serve")))


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(ENCODER.encode(value), status, headers, "application/json")


async def _refused(request: Request, error: Exception) -> Response:
    """Tells in the one shape what was refused outside of an operation."""
    del request
    refused = refusal(error)
    return _json(refused.problem, refused.status, refused.headers)


async def _missing(request: Request, error: Exception) -> Response:
    """Says so of a path or a method that is not there."""
    status = getattr(error, "status_code", 404)
    kind, told = ("NotAllowed", "Another method is meant") if status == 405 else ("NotFound", "There is nothing here")
    return await _refused(
        request, Refused(status, kind, f"{told}: /openapi.json says what there is.", headers=getattr(error, "headers", None))
    )
