"""A shop and a client of it, in one process; what is held by all tests stands in one folder for each."""

import contextlib
import shutil
import threading

import pytest
import uvicorn
from recsdk_serve import make_app
from starlette.testclient import TestClient

import recsdk

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ITEMS = [{"id": f"item-{number}", "price": float(number)} for number in range(8)]


@pytest.fixture
def make_client(tmp_path):
    """Makes a client of a shop in a folder "shop", to be used in a `with`; settings are those of the opening."""

    def made(*, keys=None, limits=None, warming=None, is_stopping=lambda: False, **settings):
        chosen = {"items": ITEMS, "policy": "lin-ts", "scorers": ["popularity"], "reward_range": (0, 1)} | settings

        def opening(observer):
            return recsdk.Recommender.open(tmp_path / "shop", **chosen, observer=observer)

        app = make_app(opening, keys=keys, limits=limits, warming=warming, is_stopping=is_stopping)
        return TestClient(app, raise_server_exceptions=False)

    return made


@pytest.fixture
def serving(make_client):
    """Is `make_client`, entered until the test ends."""
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(make_client(**settings))


@pytest.fixture
def client(serving):
    return serving()


@pytest.fixture
def served(make_client):
    """Serves the shop over a socket, by a thread, until the test ends; returns its address."""
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(listening(make_client(**settings).app))


@pytest.fixture
def address(served):
    return served()


@contextlib.contextmanager
def listening(app):
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while thread.is_alive() and not server.started:
        thread.join(0.01)
    yield "http://{}:{}".format(*server.servers[0].sockets[0].getsockname())
    server.should_exit = True
    thread.join()


@pytest.fixture
def browser():
    """A headless browser."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if BROWSER is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
