"""`recsdk doctor`: what is installed, and does it work?"""

from __future__ import annotations

import asyncio
import contextlib
import json as json_format
import math
import os
import platform
import signal
import sqlite3
import sys
from importlib import metadata, util
from typing import Any

from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from recsdk.cli.output import JsonFlag, notes, print_json, results
from recsdk.errors import InvalidValue
from recsdk.plugins import EXTRAS, Plugin, listing

AT_ONCE = max(2, os.cpu_count() or 1)
COLOURS = {"ok": "green", "missing-extra": "yellow", "broken": "red"}


def doctor(*, json: JsonFlag = False, timeout: float = 20.0) -> int:
    """Check this installation and load every plugin in a process of its own.

    Exits with 1 when something that is installed is broken.

    Args:
        json: Print the results as JSON.
        timeout: Seconds that a plugin may take to be imported and constructed.
    """
    if not (math.isfinite(timeout) and timeout > 0):
        raise InvalidValue(f"timeout must be a finite number of seconds above 0, got {timeout}.")
    found = listing()
    report = {
        "versions": _versions(),
        "extras": _extras(),
        "plugins": asyncio.run(_probe_all(found.plugins, timeout)),
        "unreadable": list(found.unreadable),
    }
    if json:
        print_json(report)
    else:
        _print(report)
    return int(_is_broken(report))


def _versions() -> dict[str, str | None]:
    return {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{distribution: _version(distribution) for distribution in ("recsdk", "numpy", "jax")},
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _extras() -> dict[str, list[str]]:
    """Returns the modules that are missing of each extra; none when it is installed."""
    missing: dict[str, list[str]] = {extra: [] for extra in EXTRAS.values()}
    for module, extra in EXTRAS.items():
        if util.find_spec(module) is None:
            missing[extra].append(module)
    return missing


async def _probe_all(plugins: tuple[Plugin, ...], timeout: float) -> list[dict[str, str]]:
    slots = asyncio.Semaphore(AT_ONCE)
    console = notes()
    if not console.is_terminal:
        console.print(f"Loading {len(plugins)} plugins, {AT_ONCE} at once, each in a process of its own ...", highlight=False)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Loading plugins", total=len(plugins))

        async def probe(plugin: Plugin) -> dict[str, str]:
            async with slots:
                finding = await _probe(plugin, timeout)
            progress.advance(task)
            return {**plugin._asdict(), **finding}

        return list(await asyncio.gather(*map(probe, plugins)))


async def _probe(plugin: Plugin, timeout: float) -> dict[str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "recsdk.cli.probe", json_format.dumps(plugin)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # what is found here must be found there
        start_new_session=True,  # so that what the plugin starts can be ended with it
    )
    try:
        answer, _ = await asyncio.wait_for(process.communicate(), timeout)
    except TimeoutError:
        return {"status": "broken", "detail": f"The {plugin} hangs: it was not imported and constructed within {timeout:g} s."}
    finally:
        if process.returncode is None:
            _kill(process)
            await process.wait()
    if answer and process.returncode == 0:
        finding: dict[str, str] = json_format.loads(answer)
        return finding
    return {"status": "broken", "detail": f"The {plugin} {_ending(process.returncode)} while it was imported and constructed."}


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"crashes its process with {signal.Signals(-code).name}"
    return f"ends its process with exit code {code}"


def _is_broken(report: dict[str, Any]) -> bool:
    broken = [plugin for plugin in report["plugins"] if plugin["status"] == "broken"]
    return bool(broken or report["unreadable"] or report["versions"]["recsdk"] is None)


def _print(report: dict[str, Any]) -> None:
    console = results()
    facts = Table("part", "state", title="Installation", title_justify="left")
    for name, version in report["versions"].items():
        facts.add_row(name, version or Text("not installed", style="yellow"))
    for extra, missing in report["extras"].items():
        state = Text(f"lacks {', '.join(missing)}", style="yellow") if missing else Text("installed")
        facts.add_row(Text(f"recsdk[{extra}]"), state)
    table = Table("kind", "name", "distribution", "version", "status", title="Plugins", title_justify="left")
    for plugin in report["plugins"]:
        status = Text(plugin["status"], style=COLOURS[plugin["status"]])
        table.add_row(*(Text(plugin[field]) for field in ("kind", "name", "distribution", "version")), status)
    console.print(facts, table)
    for plugin in report["plugins"]:
        if plugin["detail"]:
            console.print(Text(plugin["detail"], style=COLOURS[plugin["status"]]), soft_wrap=True)
    for line in report["unreadable"]:
        console.print(Text(line, style=COLOURS["broken"]), soft_wrap=True)
