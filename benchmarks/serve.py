"""How many calls a second `recsdk-serve` answers, client and server on one machine: `python benchmarks/serve.py`."""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import contextlib
import json
import math
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from loop_contestants import K, make, open_shop

CASES = (("decide", (200, 1_000, 3_000)), ("decide:batch", (5, 50)), ("reward", (500, 2_000, 6_000)))
"""Calls, and how many are due a second."""
WARMING = {"user_id": "1", "age": 0.5}


def serve(folder: Path, number: int, warming: Mapping[str, Any] = WARMING, **options: Any) -> None:
    """Serves a folder on a socket that is inherited, as `recsdk serve` does, with parts that have no names."""
    import uvicorn
    from recsdk_serve import make_app
    from recsdk_serve.commands import SWITCH

    sys.setswitchinterval(SWITCH)
    app = make_app(lambda observer: open_shop(folder, policy="lin-ts", observer=observer, **options), warming=warming)
    uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on")).run(sockets=[socket.socket(fileno=number)])


def main() -> None:
    """Prints a row for each call and rate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--call", choices=[call for call, _ in CASES])
    parser.add_argument("--serve", nargs=2)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(Path(arguments.serve[0]), int(arguments.serve[1]))
        return
    print(f"K = {K}, D = 64, lin-ts, process-crash; load {os.getloadavg()[0]:.1f}\n")
    print("| call | due a second | decisions or rewards a second | p50 ms | p99 ms | CPU µs |\n| --- | --: | --: | --: | --: | --: |")
    with tempfile.TemporaryDirectory() as place, socket.create_server(("127.0.0.1", 0), backlog=1_024) as listening:
        make(Path(place) / "shop", 1_000)
        began = time.perf_counter()
        with serving(__file__, Path(place) / "shop", listening) as process:
            url = address(listening)
            cold = time.perf_counter() - began
            for call, rates in CASES:
                for rate in rates if arguments.call in (None, call) else ():
                    print(row(process.pid, url, call, rate, arguments.seconds), flush=True)
    print(f"\nReady {cold:.1f} s after the process was started.")


def address(listening: socket.socket) -> str:
    """Returns where a socket listens."""
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextlib.contextmanager
def serving(script: str, folder: Path, listening: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a script that serves a folder on a socket, which stays open when its process dies; yields it once it is ready."""
    command = [sys.executable, script, "--serve", str(folder), str(listening.fileno())]
    with subprocess.Popen(command, pass_fds=[listening.fileno()]) as process:  # noqa: S603 -- a script of this folder
        ready(address(listening))
        yield process
        process.send_signal(signal.SIGTERM)


def ready(url: str) -> None:
    """Waits until the service is ready."""
    while True:
        try:
            urlopen(f"{url}/v2/health/ready", timeout=60).close()  # noqa: S310 -- its own address
        except URLError:
            time.sleep(0.01)
        else:
            return


def processor(pid: int) -> float:
    """Returns the seconds of the processor that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def row(pid: int, url: str, call: str, rate: float, seconds: float) -> str:
    """Returns the row of a call and a rate; the last number is what the server's processor took for each decision or reward."""
    options = ["--call", call, "--rate", str(rate), "--seconds", str(seconds), "--request", '{"age": 0.5}', "--json"]
    command = [sys.executable, "-m", "recsdk", "bench-serve", url, *options]
    before = processor(pid)
    told = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 -- recsdk
    found = json.loads(told.stdout)
    num = math.ceil(rate * seconds) * (32 if call == "decide:batch" else 1)
    took = "" if call == "reward" else f"{1e6 * (processor(pid) - before) / num:,.0f}"  # the decisions to reward are made meanwhile
    return f"| {call} | {rate:,} | {found['answered']:,.0f} | {found['p50']:.1f} | {found['p99']:.1f} | {took} |"


if __name__ == "__main__":
    main()
