"""`recsdk serve` and `recsdk serve-key`."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from cyclopts import Parameter

from recsdk import Recommender
from recsdk.errors import InvalidValue
from recsdk.ledger.stores import store
from recsdk.live.contest import ROLES
from recsdk.live.observe import Notice, Observer
from recsdk.live.parts import latest
from recsdk.live.records import lines, parsed
from recsdk.live.reopening import parts_of
from recsdk_serve.guard import Limits, is_loopback
from recsdk_serve.keys import Keys, Scope, add_key, revoke_key

GRACE = 5
"""Seconds that calls under way have when the service stops: who stops it may kill it after 10 s, and the folder is to be closed by then."""
PERSONAL = ("user_id", "history")
"""Features of a request that say who asks."""
SWITCH = 0.0005
"""Seconds after which a thread that works lets another one in: the network should not wait for a batch of decisions."""


def serve(
    folder: Path,
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    keys: Path | None = None,
    items: Path | None = None,
    policy: str | None = None,
    scorer: Annotated[list[str] | None, Parameter(negative=())] = None,
    reward_range: tuple[float, float] | None = None,
    log_features: Literal["shown", "all"] = "shown",
    remember: int = 0,
    access_log: bool = True,
) -> None:
    """Serve a recommender over HTTP.

    It goes on until SIGTERM or Ctrl-C; calls that are under way are answered first. A folder that is there is opened with its own policy,
    scorers and encoder; for rules, a feedback or parts without names write a program with recsdk_serve.make_app.

    Args:
        folder: The recommender's folder; it is made where it is not there.
        host: Address to listen on; other machines can reach only another than 127.0.0.1, which needs --keys.
        port: Port to listen on; 0 takes a free one.
        keys: File of keys, as serve-key makes it.
        items: Items to add that the folder has never held, a JSON object with an "id" and features on each line.
        policy: Name of the policy.
        scorer: Name of a scorer; give it several times for several.
        reward_range: The least and the largest reward.
        log_features: "all" keeps the features of all candidates, which evaluating other policies needs.
        remember: How many items a user's history has that a request is given.
        access_log: Write a line for each call to standard error, as JSON.
    """
    import socket

    import uvicorn

    from recsdk_serve.app import make_app

    _require_keys(host, keys)
    sys.setswitchinterval(SWITCH)
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    logging.getLogger("recsdk_serve.access").setLevel(logging.INFO if access_log else logging.WARNING)
    rows = [] if items is None else [parsed(items, number, line) for number, line in lines(items) if line.strip()]
    parts, request = _found(folder)
    parts = parts | ({} if scorer is None else {"scorers": scorer}) | ({} if policy is None else {"policy": policy, "floor": 0.05})
    told: list[Observer] = []

    def tell(notice: Notice) -> None:
        for observer in told:
            observer(notice)

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    settings: dict[str, Any] = {"reward_range": reward_range, "log_features": log_features, "remember": remember}
    with (
        socket.create_server((host, port), family=family, backlog=2_048) as listening,
        Recommender.open(folder, items=rows, observer=tell, **settings, **parts) as shop,
    ):

        def opening(observer: Observer) -> Recommender:
            told.append(observer)
            return shop

        allowed = None if keys is None else Keys(keys)
        app = make_app(opening, keys=allowed, warming=request, is_stopping=lambda: server.should_exit)
        options: dict[str, Any] = {"log_config": None, "access_log": False, "lifespan": "on", "server_header": False}
        options |= {"ws_max_size": Limits().body, "ws_per_message_deflate": False}  # what clients send is a subscription
        server = uvicorn.Server(uvicorn.Config(app, timeout_graceful_shutdown=GRACE, **options))
        warning = "" if keys else " No keys: everybody on this machine may do everything, and no other machine gets in."
        print(f"Serving {folder} on http://{host}:{listening.getsockname()[1]}.{warning}", file=sys.stderr, flush=True)
        server.run(sockets=[listening])
    sys.exit(not server.started)


def serve_key(
    file: Path, name: str, /, *, scope: Annotated[list[Scope] | None, Parameter(negative=())] = None, revoke: bool = False
) -> None:
    """Make a key for a client of recsdk serve, or take it away.

    The key is printed once; the file has its hash only. A service that runs knows it from the next call on, as it does of one that is
    revoked.

    Args:
        file: File of keys; it is made where it is not there.
        name: Whose key it is; the access log has this name.
        scope: What it may do, several times for several: decide, reward, items, read to watch, or admin for all else.
        revoke: Take the key of this name away.
    """
    if revoke:
        revoke_key(file, name)
    else:
        print(add_key(file, name, scope or []))


def _require_keys(host: str, keys: Path | None) -> None:
    if keys is None and not is_loopback(host):
        raise InvalidValue(
            f"host must be 127.0.0.1 where there are no keys, got {host!r}: make some by `recsdk serve-key`, and give --keys."
        )


class _Found(NamedTuple):
    """What a folder was last opened with and asked.

    Attributes:
        parts: arguments of `open`, without a floor beside that of its policy.
        request: names of the last request's features, with empty values of their types: nothing of the user who asked is written again.
    """

    parts: dict[str, Any]
    request: dict[str, Any]


def _found(folder: Path) -> _Found:
    if not folder.is_dir() or not any(folder.iterdir()):
        return _Found({}, {})
    with contextlib.closing(store(folder).read(folder)) as stored:
        if json.loads(stored.get(ROLES) or "{}"):
            raise InvalidValue(f"{folder} has challengers of its policy: serve it by a program with recsdk_serve.make_app.")
        last = [json.loads(record.payload) for record in latest(stored, 1) if record.payload]
        request = last[0].get("request", {}) if last else {}
        return _Found(parts_of(stored), {name: type(value)() for name, value in request.items() if name not in PERSONAL})
