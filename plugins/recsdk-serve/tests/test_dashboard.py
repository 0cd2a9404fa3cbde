"""The dashboard: what it may load, and what it shows in a real browser."""

import hashlib

import httpx2
import pytest
from recsdk_serve import Keys, add_key
from recsdk_serve.pages import FILES

WAIT = 60_000.0
ITEMS = [{"id": f"<img src=x onerror=alert({number})>", "price": 1.0} for number in range(3)]
FITS = "[...document.querySelectorAll('.chart svg')].every(each => each.clientWidth <= each.closest('.chart').clientWidth)"
VENDORED = {
    "vega.min.js": "8f6a3587cf8d4f42c7e08120e3eb05d067e746d554e39d2dcf52acc0bd5ba28f",
    "vega-lite.min.js": "83e215e84e308ee8688fa6503ba0f1cf8a3c05c0d61df2841a0b92bf86809e00",
    "vega-embed.min.js": "b1455caba2fb1a72fb46025ba0ba1316e2dbc7f0dd40a3f6040172bf9c08ba91",
}
"""SHA-256 of build/ in the packages of npm: vega 6.4.0, vega-lite 6.5.0, vega-embed 7.3.0."""


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_there_and_its_policy_allows_nothing_but_this_server(client, name):
    answer = client.get(f"/dashboard/{name}" if name else "/dashboard")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(FILES[name][1])
    allowed = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert allowed.pop("default-src") == "'none'"
    assert set(allowed.values()) == {"'self'", "'none'", "data:"}
    assert "unsafe" not in answer.headers["content-security-policy"]
    if name in VENDORED:
        assert hashlib.sha256(answer.content).hexdigest() == VENDORED[name]


@pytest.mark.parametrize("name", ["index.html", "..", "../app.py", "%2e%2e%2fapp.py", "x", "vega.min.js/x"])
def test_nothing_else_is_there(client, name):
    assert client.get(f"/dashboard/{name}").status_code == 404


def visits(address, headers, start):
    requests = [{"decision_id": f"visit-{number}", "size": 2} for number in range(start, start + 40)]
    slates = httpx2.post(f"{address}/v1/decide:batch", json={"requests": requests}, headers=headers, timeout=60).json()["slates"]
    rewards = [{"decision_id": slate["decision_id"], "item": slate["ids"][0], "value": 1.0} for slate in slates]
    assert httpx2.post(f"{address}/v1/reward:batch", json={"rewards": rewards}, headers=headers, timeout=60).status_code == 200


def test_the_page_asks_for_a_key_and_shows_how_the_recommender_does(tmp_path, served, browser):
    file, wrong = tmp_path / "keys.json", []
    reader, shop = add_key(file, "ops", ["read"]), {"authorization": f"Bearer {add_key(file, 'shop', ['decide', 'reward'])}"}
    address = served(keys=Keys(file), items=ITEMS)
    visits(address, shop, 0)
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="dark")
    page.set_default_timeout(WAIT)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if "status of 401" not in message.text else None)
    page.on("request", lambda request: wrong.append(request.url) if not request.url.startswith((address, "data:")) else None)
    page.goto(f"{address}/dashboard")
    for key, told in (("recsdk_x_y", "Give a key"), (shop["authorization"].split()[1], "scope 'read'"), (reader, "")):
        page.get_by_label("Key").fill(key)
        page.keyboard.press("Enter")
        page.get_by_role("alert").filter(has_text=told).wait_for(state="visible" if told else "attached")
    page.get_by_text("No alarm is on").wait_for()
    page.locator("#figures", has_text="Decisions40").wait_for()
    for chart in ("reward", "items", "exploration", "floor"):
        page.locator(f"#{chart} svg").wait_for()
    page.locator("#items [aria-roledescription=bar]").first.hover()
    page.locator("#vg-tooltip-element", has_text="<img").wait_for()  # and not as an element
    page.get_by_role("status").filter(has_text="Live").wait_for()
    visits(address, shop, 40)
    page.locator("#rates svg").wait_for()
    page.locator("#figures", has_text="at the median").wait_for()
    for width in (1280, 390):  # of a phone too
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= width  # nothing stands out at the side
        page.wait_for_function(FITS)
    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="Pause").press("Enter")
    page.get_by_role("status").filter(has_text="Paused").wait_for()
    visits(address, shop, 80)
    before = page.evaluate("Date.now()")
    page.get_by_role("button", name="Go on").press("Enter")
    page.get_by_role("status").filter(has_text="Live").wait_for()
    assert page.evaluate("live.began") >= before  # nothing is drawn of the seconds in which nobody listened
    visits(address, shop, 120)
    page.wait_for_function("[...live.counts.values()].reduce((num, each) => num + each.decisions, 0) >= 40")
    assert page.evaluate("[...live.counts.values()].reduce((num, each) => num + each.decisions, 0)") == 40  # and none comes again
    page.evaluate("""heard('event: dropped\\ndata: {"num":3}')""")
    assert page.evaluate("live.counts.size") == 0
    page.evaluate("refused(Object.assign(new Error('another host'), { status: 403, kind: 'OtherHost' }))")
    assert page.evaluate("[element('told').textContent, element('ask').hidden, element('main').hidden]") == ["another host", True, False]
    page.evaluate("{ figures = () => { throw new Error('a fault') }; look() }")
    page.wait_for_function("element('told').textContent === 'The page has failed: a fault'")
    assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0  # the key is kept nowhere
    assert page.locator("img").count() == 0
    page.close()
    assert [text for text in wrong if "status of 403" not in text and "a fault" not in text] == []
