"""The dashboard: files that hold no data, under a policy that lets the page load and ask nothing but this server."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from recsdk_serve.guard import Refused

FILES = {
    "": ("index.html", "text/html"),
    "dashboard.css": ("dashboard.css", "text/css"),
    "charts.js": ("charts.js", "text/javascript"),
    "dashboard.js": ("dashboard.js", "text/javascript"),
    "vega.min.js": ("vega.min.js", "text/javascript"),
    "vega-lite.min.js": ("vega-lite.min.js", "text/javascript"),
    "vega-embed.min.js": ("vega-embed.min.js", "text/javascript"),
    "LICENSES.txt": ("LICENSES.txt", "text/plain"),
}
"""What there is, by its name below /dashboard, with its type."""
SECURITY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


async def dashboard(request: Request) -> Response:
    """Returns a file of the dashboard."""
    found = FILES.get(request.path_params.get("name", ""))
    if found is None:
        raise Refused(404, "NotFound", "There is nothing here: /dashboard is the page.")
    name, kind = found
    return FileResponse(Path(__file__).with_name("dashboard") / name, media_type=kind, headers=SECURITY)


ROUTES = [Route("/dashboard", dashboard), Route("/dashboard/{name}", dashboard)]
