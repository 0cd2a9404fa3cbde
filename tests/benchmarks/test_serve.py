"""The benchmarks of the service run, and what they measure is so. How fast anything is, no test says."""

import http.server
import importlib
import importlib.util
import json
import subprocess
import sys
import threading

import pytest

from tests.processes import ROOT

pytestmark = pytest.mark.skipif(importlib.util.find_spec("recsdk_serve") is None, reason="needs plugins/recsdk-serve")


def printed(*arguments):
    """Returns the cells of the last line of the table that a script prints."""
    script, *options = arguments
    command = [sys.executable, "-W", "ignore", str(ROOT / "benchmarks" / script), *options]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()  # noqa: S603 -- its own script
    assert "cores at a load of" in lines[0]
    return [cell.strip() for cell in lines[-1].strip("|").split("|")]


PLAIN = {"price": 0.5, "age": 1.0, "added": 0.0}


def script(name):
    """Imports a script of benchmarks/."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


@pytest.mark.slow
def test_a_subscriber_has_a_fresh_slate_for_each_reward():
    subscribers, rate, *seconds = printed("push.py", "--quick")
    assert (subscribers, rate) == ("50", "20")
    assert all(float(value) > 0 for value in seconds)


@pytest.mark.slow
def test_a_service_that_is_killed_loses_nothing():
    seconds, kills, decisions, rewards, *faults, _, _, is_the_fold = printed("soak.py", "--seconds", "8", "--kills", "1")
    assert (seconds, kills, faults, is_the_fold) == ("8", "1", ["0", "0", "0"], "yes")
    assert int(decisions.replace(",", "")) >= int(rewards.replace(",", "")) > 0


class Forgetful(http.server.BaseHTTPRequestHandler):
    """A service that has lost the decision "0-1", and says of "0-2" what it has not kept."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        is_gone = asked["decision_id"] == "0-1" and self.path == "/v1/reward"
        self.server.stop.set() if asked["decision_id"] == "0-3" else None
        data = json.dumps({"ids": ["2" if asked["decision_id"] == "0-2" else "1"]}).encode()
        self.send_response(404 if is_gone else 200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        """Says nothing."""


def test_what_was_answered_and_is_gone_or_other_is_found(tmp_path, monkeypatch, capsys):
    soak = script("soak")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Forgetful) as server:
        server.stop = threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        visitor = soak.Visitor(server.server_port, 0, server.stop)
        visitor.start()
        visitor.done()
        server.shutdown()
        visitor._connection.close()
    assert "0-1" in capsys.readouterr().err
    assert (list(visitor.shown), list(visitor.values), visitor.counts["refused"]) == (
        ["0-0", "0-1", "0-2", "0-3"],
        ["0-0", "0-2", "0-3"],
        1,
    )
    with soak.open_shop(tmp_path / "shop", items=[{"id": name, **PLAIN} for name in ("1", "2")], policy="lin-ts") as shop:
        for name, value in visitor.values.items():
            shop.recommend({"user_id": "1", "age": 0.5}, candidates=["1"], decision_id=name)
            shop.reward(name, value if name != "0-3" else 1 - value)
    found = soak.read(tmp_path / "shop", [visitor])
    assert (found.decisions, found.rewards, found.lost, found.twice, found.refused) == (4, 3, 3, 0, 1)
    assert found.is_the_fold


def test_what_fails_in_a_visitor_is_raised(monkeypatch):
    soak = script("soak")
    visitor = soak.Visitor(1, 0, threading.Event())
    monkeypatch.setattr(visitor, "_said", lambda path, body: (200, b"?"))
    visitor.start()
    with pytest.raises(json.JSONDecodeError):
        visitor.done()
