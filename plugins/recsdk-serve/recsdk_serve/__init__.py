"""A recommender over HTTP: `recsdk serve FOLDER`, or `make_app` in a program of one's own."""

from recsdk_serve.app import make_app
from recsdk_serve.guard import Limits
from recsdk_serve.keys import Keys, add_key, revoke_key

__all__ = ["Keys", "Limits", "add_key", "make_app", "revoke_key"]
