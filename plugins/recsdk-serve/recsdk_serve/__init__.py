"""A recommender over HTTP: `recsdk serve FOLDER`, or `make_app` in a program of one's own; and `Client` and `AsyncClient` to call it."""

from recsdk_serve.app import make_app
from recsdk_serve.calling import Retry, ServiceError, Unanswered
from recsdk_serve.calls import Served, locally
from recsdk_serve.client import AsyncClient, Client, Event
from recsdk_serve.guard import Limits
from recsdk_serve.keys import Keys, add_key, revoke_key
from recsdk_serve.messages import Correct, Decide, Reward, Shown, Signal

__all__ = [
    "AsyncClient",
    "Client",
    "Correct",
    "Decide",
    "Event",
    "Keys",
    "Limits",
    "Retry",
    "Reward",
    "Served",
    "ServiceError",
    "Shown",
    "Signal",
    "Unanswered",
    "add_key",
    "locally",
    "make_app",
    "revoke_key",
]
