"""The table of what the service can be asked: paths, types, scopes. The routes and the OpenAPI page are both made of it."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

from recsdk_serve import messages as m
from recsdk_serve.keys import Scope

PROBLEMS = {
    400: "The body is no strict JSON, or too deep.",
    401: "No key, or one that nobody has.",
    403: "A key without the scope; where there are no keys, another machine, host or site.",
    404: "No such decision, item or part.",
    408: "The body took too long.",
    409: "An id that was used before for something else.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "A field that is wrong.",
    429: "Too many calls are waiting; Retry-After says when to try again.",
    503: "The ledger cannot be written, or the service is about to stop.",
}


class Operation(NamedTuple):
    """Something that the service can be asked.

    Attributes:
        path: where.
        method: of HTTP.
        name: of the method of `Service` that does it; the OpenAPI page's operationId.
        summary: what it does, in a line.
        takes: what the body says; `Nothing` where there is none.
        gives: the answer.
        scope: what a key must be allowed.
        lane: "quick" for decisions and rewards, "slow" for what takes long, "reading" for what changes nothing and does.
        evidence: whose slates it makes stale, for those who have subscribed: of the user of a signal, or of all. Of rewards and corrections
            the recommender tells whose they are.
    """

    path: str
    method: Literal["GET", "POST"]
    name: str
    summary: str
    takes: type
    gives: type
    scope: Scope
    lane: Literal["quick", "slow", "reading"] = "quick"
    evidence: Literal["user", "all"] | None = None


OPERATIONS = (
    Operation("/v1/decide", "POST", "decide", "Choose what to show.", m.Decide, m.Slate, "decide"),
    Operation("/v1/reward", "POST", "reward", "Take a reward.", m.Reward, m.Rewarded, "reward"),
    Operation("/v1/decide:batch", "POST", "decide_batch", "Choose for many requests.", m.DecideBatch, m.Slates, "decide"),
    Operation("/v1/reward:batch", "POST", "reward_batch", "Take many rewards.", m.RewardBatch, m.Results, "reward"),
    Operation("/v1/signal", "POST", "signal", "Take a signal.", m.Signal, m.Received, "reward", "quick", "user"),
    Operation("/v1/correct", "POST", "correct", "Correct a signal or a reward, or take it back.", m.Correct, m.Received, "reward", "slow"),
    Operation("/v1/shown", "POST", "shown", "Say that a decision was shown, or was not.", m.Shown, m.Received, "reward"),
    Operation("/v1/items", "POST", "add_items", "Add items: all or none.", m.Items, m.Catalogue, "items", "slow", "all"),
    Operation("/v1/items:change", "POST", "change_items", "Change items: all or none.", m.Items, m.Catalogue, "items", "slow", "all"),
    Operation("/v1/items:remove", "POST", "remove_items", "Remove items: all or none.", m.ItemIds, m.Catalogue, "items", "slow", "all"),
    Operation("/v1/forget", "POST", "forget", "Forget a user.", m.Forget, m.Forgotten, "admin", "slow"),
    Operation("/v1/models", "GET", "models", "Tell what serves, and what has served.", m.Nothing, m.Models, "read"),
    Operation("/v1/status", "GET", "status", "Tell how it does.", m.Nothing, m.Status, "read", "reading"),
    Operation("/v1/models:publish", "POST", "publish", "Let other scorers serve.", m.Publish, m.Models, "admin", "slow", "all"),
    Operation("/v1/models:rollback", "POST", "roll_back", "Go back to what served before.", m.Nothing, m.Models, "admin", "slow", "all"),
    Operation("/v1/models:export", "POST", "export", "Give what decides now, for other processes.", m.Exporting, m.Export, "admin", "slow"),
    Operation("/v1/decisions:batch", "POST", "take", "Take decisions made elsewhere.", m.LocalDecisions, m.Results, "decide", "slow"),
)  # fmt: skip

ONCE = frozenset(("add_items", "change_items", "remove_items", "roll_back"))
"""Those of which a call that is repeated, though the first was done, is refused or undoes what came between."""

OPEN = {
    "/v2": ("Tell what this server is.", m.Metadata),
    "/v2/health/live": ("Tell whether the process answers.", m.Live),
    "/v2/health/ready": ("Tell whether it takes requests; 503 where it does not.", m.Ready),
}
"""What everybody may ask."""
EVENTS = {
    "/v1/events/decisions": ("Stream the decisions and rewards that are made, for dashboards; goes on after Last-Event-ID.", "read"),
    "/v1/events/slates": ("Stream fresh slates for a user, at once and when there is new evidence.", "decide"),
}


def openapi(version: str) -> dict[str, Any]:
    """Returns the description of the service, made of its types.

    Example:
        >>> sorted(openapi("1.0")["paths"]["/v1/decide"]["post"]["responses"])[:3]
        ['200', '400', '401']
    """
    types = [*{kind: None for each in OPERATIONS for kind in (each.takes, each.gives)}, *(kind for _, kind in OPEN.values()), m.Problem]
    _, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    paths: dict[str, Any] = {}
    for each in OPERATIONS:
        told = {
            "operationId": each.name,
            "summary": each.summary,
            "description": f"Needs the scope `{each.scope}`.",
            "security": [{"key": []}],
        }
        content = {"requestBody": {"required": True, "content": _json(each.takes)}} if each.method == "POST" else {}
        paths[each.path] = {each.method.lower(): {**told, **content, "responses": {"200": _answer(each.gives), **_problems()}}}
    for path, (summary, gives) in OPEN.items():
        more = {"503": _answer(gives, "Not ready.")} if gives is m.Ready else {}
        paths[path] = {"get": {"operationId": gives.__name__.lower(), "summary": summary, "responses": {"200": _answer(gives), **more}}}
    for path, (summary, scope) in EVENTS.items():
        stream = {"description": "Server-Sent Events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
        told = {
            "operationId": path.rpartition("/")[2],
            "summary": summary,
            "description": f"Needs the scope `{scope}`.",
            "security": [{"key": []}],
        }
        paths[path] = {"get": {**told, "parameters": PARAMETERS[path], "responses": {"200": stream, **_problems(401, 403, 422, 429, 503)}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "recsdk-serve", "version": version, "description": "A recommender that learns from every reward."},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


PARAMETERS = {
    "/v1/events/decisions": [{"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}}],
    "/v1/events/slates": [
        {"name": "user", "in": "query", "required": True, "schema": {"type": "string", "minLength": 1, "maxLength": m.LONGEST_NAME}},
        {"name": "size", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 1}},
    ],
}


def _json(kind: type) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}


def _answer(kind: type, told: str = "Done.") -> dict[str, Any]:
    return {"description": told, "content": _json(kind)}


def _problems(*statuses: int) -> dict[str, Any]:
    return {str(status): _answer(m.Problem, told) for status, told in PROBLEMS.items() if not statuses or status in statuses}
