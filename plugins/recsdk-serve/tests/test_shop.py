"""The shop of examples/shop in a real browser: it shows products, takes clicks, and learns."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import recsdk

ROOT = Path(__file__).parents[3]
WAIT = 60_000.0


@contextlib.contextmanager
def open_shop(folder):
    """Runs the example, and yields its address."""
    command = [sys.executable, str(ROOT / "examples/shop/shop.py"), "--port", "0", "--folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "RECSDK_FAST": "0"}) as process:  # noqa: S603
        try:
            address = re.search(r"http://\S+", process.stdout.readline())
            assert address
            yield address.group()
        finally:
            process.terminate()


def test_a_visitor_clicks_and_the_shop_learns_of_what_was_shown(tmp_path, browser):
    wrong = []
    with open_shop(tmp_path / "shop") as address:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: wrong.append(request.url) if not request.url.startswith((address, "data:")) else None)
        page.goto(address)
        cards = page.locator(".item")
        cards.first.click()
        page.locator(".clicked").wait_for()
        page.locator("#rate", has_text="1.00").wait_for()
        assert cards.count() == 6
        page.get_by_role("button", name="Next visit").click()
        page.locator("#rate", has_text="Visits: 2.").wait_for()
        for width in (1280, 390):  # of a phone too
            page.set_viewport_size({"width": width, "height": 844})
            assert page.evaluate("document.documentElement.scrollWidth") <= width  # nothing stands out at the side
        page.wait_for_timeout(3_500)  # the window of the first visit closes
        page.get_by_role("button", name="Next visit").click()
        page.locator("#rate", has_text="Visits: 3.").wait_for()
    assert wrong == []
    log = recsdk.read_ledger(tmp_path / "shop", position=0)
    assert log.reward[:1].tolist() == [1]  # the window of the first visit has closed; a click that came later has corrected it
    assert not log.reward[1:].any()
