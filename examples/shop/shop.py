"""A shop in the browser that learns from clicks: `python examples/shop/shop.py`, then open the page that it names.

Needs `pip install recsdk-serve`. The service of recsdk answers under /v1 as it does for any shop; this script adds the page.
"""

import argparse
import socket
import tempfile
from pathlib import Path

import uvicorn
from recsdk_serve import make_app
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

import recsdk
from recsdk.live.observe import Observer

PAGE = Path(__file__).with_name("index.html")
SHELVES = {
    "garden": ["Spade", "Rake", "Seeds", "Gloves"],
    "kitchen": ["Pan", "Knife", "Bowl", "Apron"],
    "music": ["Guitar", "Drum", "Flute", "Songbook"],
    "outdoors": ["Tent", "Compass", "Lantern", "Boots"],
    "reading": ["Novel", "Atlas", "Poems", "Bookmark"],
    "sport": ["Ball", "Racket", "Skates", "Whistle"],
}
ITEMS = [
    {"id": name, "shelf": shelf, "price": 5.0 + 7 * place + len(name)}
    for shelf, names in SHELVES.items()
    for place, name in enumerate(names)
]
SECURITY = "default-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"


def open_shop(folder: Path, observer: Observer) -> recsdk.Recommender:
    """Opens the shop's recommender: what nobody has clicked for three seconds is worth 0, and a click 1, also when it comes later."""
    feedback = recsdk.Feedback(window=3.0, default=0.0, signals={"click": 1.0}, late=1.0)
    return recsdk.Recommender.open(
        folder, items=ITEMS, scorers=["crossed"], policy="lin-ts", feedback=feedback, log_features="all", observer=observer
    )


async def page(request: object) -> HTMLResponse:
    """Returns the page, which asks nobody but this server for anything."""
    del request
    return HTMLResponse(PAGE.read_text(encoding="utf-8"), headers={"content-security-policy": SECURITY})


async def products(request: object) -> JSONResponse:
    """Returns what the page shows of each product."""
    del request
    return JSONResponse({item["id"]: {"shelf": item["shelf"], "price": item["price"]} for item in ITEMS})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="what it has learned is kept here; by default it is forgotten at the end")
    parser.add_argument("--port", type=int, default=8000, help="0 takes any that is free")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        app = make_app(lambda observer: open_shop(options.folder or Path(temporary) / "shop", observer))
        app.router.routes.extend([Route("/", page), Route("/products.json", products)])
        with socket.create_server(("127.0.0.1", options.port)) as listening:
            print(f"The shop is open: http://127.0.0.1:{listening.getsockname()[1]}/  Ctrl-C closes it.", flush=True)
            uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main()
