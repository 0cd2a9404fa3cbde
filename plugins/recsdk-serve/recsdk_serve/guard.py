"""The border: what comes from the network is measured before it is read, and read before it is believed."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn

import attrs
import msgspec

from recsdk.checks import require_integer, require_number
from recsdk.errors import Conflict, InvalidAnswer, InvalidValue, ModelRefused, RecsdkError, Unknown, Unproven
from recsdk_serve.messages import Problem

Receive = Callable[[], Awaitable[Any]]
STRINGS, BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL), re.compile(rb"[\[\]{}]")
"""Each byte is read once: a string without an end reaches to the end of the body, so nothing is searched again from its quotes."""
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(?::[0-9]*)?")
"""A Host header, and the name in it."""
STATUSES: tuple[tuple[type[RecsdkError], int], ...] = (
    (Unknown, 404),
    (Conflict, 409),
    (Unproven, 409),
    (ModelRefused, 409),
    (InvalidAnswer, 500),  # a part of the shop's own that breaks its contract: not the caller's fault
    (InvalidValue, 422),
)
"""The status of an error of recsdk: of the first kind that fits; 503 for others, such as a disk that fails."""


@attrs.frozen(kw_only=True)
class Limits:
    """How much a client may ask for.

    Attributes:
        body: bytes of a request's body.
        depth: how deep lists and objects may be in each other.
        seconds: within which the whole body must be there.
        waiting: decisions and rewards that may wait for their turn; of more, the newest are refused with 429.
        subscribers: streams of events that may be open.

    Example:
        >>> Limits(body=1_000).depth
        32
    """

    body: int = 262_144
    depth: int = 32
    seconds: float = 10.0
    waiting: int = 1_024
    subscribers: int = 1_024

    def __attrs_post_init__(self) -> None:
        """Refuses what is no limit."""
        for name in ("body", "depth", "waiting", "subscribers"):
            require_integer(name, getattr(self, name), at_least=1)
        require_number("seconds", self.seconds, above=0)


class Refused(Exception):
    """A call that is refused, with its status and problem."""

    def __init__(self, status: int, error: str, message: str, field: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.problem, self.headers = status, Problem(error=error, message=_clean(message), field=field), dict(headers or {})


def refusal(error: Exception, takes: type | None = None) -> Refused:
    """Returns how an error is told to a client: those of recsdk as they are, of others nothing but that there was one."""
    if isinstance(error, Refused):
        return error
    if not isinstance(error, RecsdkError):
        return Refused(500, "Failed", "The service has failed at this; its log says why.")
    status = next((status for kind, status in STATUSES if isinstance(error, kind)), 503)
    found = re.match(r"(?:(requests\[\d+\]): )?(\w+)", str(error))
    place, word = found.groups() if found else (None, "")
    known = word if takes is not None and word in getattr(takes, "__struct_fields__", ()) else None
    field = f"{place}.{word}" if place else known
    return Refused(status, type(error).__name__, str(error), field, {"retry-after": "1"} if status == 503 else None)


def is_loopback(name: str) -> bool:
    """Tells whether a host is this machine."""
    address = _address(name)
    return name == "localhost" if address is None else address.is_loopback


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def require_local(call: Mapping[str, Any]) -> None:
    """Refuses a call of another machine, and one that names another host than this machine or the address that it came to.

    A name of another site can lead here. A test client, and a socket of Unix, have no address of a network.

    Args:
        call: the scope of ASGI.

    Raises:
        Refused: 403.
    """
    headers, server, client = dict(call["headers"]), call.get("server"), call.get("client")
    address = _address(client[0]) if client else None
    if not (address is None or address.is_loopback or (server is not None and address == _address(server[0]))):
        raise Refused(403, "OtherMachine", "Without keys only this machine gets in: another one needs a key.")
    found = HOST.fullmatch(headers.get(b"host", b"").decode("latin-1").lower())
    name = found[1].strip("[]") if found else ""
    if not (is_loopback(name) or (server is not None and name == server[0])):
        told = f"Without keys the host must be localhost, a loopback address or the one that the service listens on, got {name!r}."
        raise Refused(403, "OtherHost", told)


def require_same_site(headers: Mapping[bytes, bytes]) -> None:
    """Refuses a call that a browser makes for a page of another site.

    Raises:
        Refused: 403.
    """
    origin = headers.get(b"origin")
    is_other = origin is not None and origin.partition(b"://")[2] != headers.get(b"host")
    if is_other or headers.get(b"sec-fetch-site") == b"cross-site":
        raise Refused(403, "OtherSite", "Without keys a page of another site gets nothing.")


async def body(headers: Mapping[bytes, bytes], receive: Receive, limits: Limits) -> bytes:
    """Reads a body of JSON.

    Raises:
        Refused: 415 for another type, 413 for one that is too large, which is not read on, 408 for one that takes too long.
    """
    kind, _, parameters = headers.get(b"content-type", b"").partition(b";")
    charset = parameters.strip().lower().replace(b'"', b"")
    if kind.strip().lower() != b"application/json" or charset not in (b"", b"charset=utf-8") or b"content-encoding" in headers:
        raise Refused(415, "NotJson", "The body must be of the type application/json, in UTF-8, not compressed.")
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length[:20]) > limits.body:
        raise _too_large(limits)
    parts, num = [], 0
    try:
        async with asyncio.timeout(limits.seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused(400, "NotJson", "The client has left before its body was there.")
                parts.append(message.get("body", b""))
                num += len(parts[-1])
                if num > limits.body:
                    raise _too_large(limits)
                if not message.get("more_body"):
                    return parts[0] if len(parts) == 1 else b"".join(parts)
    except TimeoutError as error:
        told = f"The body must be there within {limits.seconds:g} s."
        raise Refused(408, "TooSlow", told, headers={"connection": "close"}) from error


def decoded(data: bytes, takes: Any, limits: Limits) -> Any:
    """Returns what a body says, as a record of the type that is wanted.

    Raises:
        Refused: 400 for what is no strict JSON: too deep, a name twice in one object, NaN, a number beyond float64; 422 for other fields
            or types than wanted.
    """
    if data.count(b"[") + data.count(b"{") > limits.depth:
        _require_shallow(data, limits.depth)
    try:
        value = DECODER.decode(data.decode())
        if b"\\u" in data:  # half a character can be written so, and nothing could keep or answer it
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        told = f"The body must be strict JSON in UTF-8: {error}." if isinstance(error, ValueError) else "The body is nested too deep."
        raise Refused(400, "NotJson", told) from error
    try:
        return msgspec.convert(value, takes, str_keys=True)
    except (msgspec.ValidationError, OverflowError) as error:
        told, _, place = str(error).partition(" - at `$.")
        raise Refused(422, "WrongType", f"{told}.", place.rstrip("`") or None) from error


def _require_shallow(data: bytes, most: int) -> None:
    depth = 0
    for bracket in BRACKETS.findall(STRINGS.sub(b"", data)):
        depth += 1 if bracket in b"[{" else -1
        if depth > most:
            raise Refused(400, "TooDeep", f"Lists and objects must be at most {most} deep in each other.")


def _too_large(limits: Limits) -> Refused:
    return Refused(413, "TooLarge", f"The body must have at most {limits.body} bytes.", headers={"connection": "close"})


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is twice in one object")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is beyond float64")
    return value


DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite)


def _clean(text: str) -> str:
    """Returns a text that UTF-8 can hold."""
    return text.encode("utf-8", "backslashreplace").decode()[:2_000]
