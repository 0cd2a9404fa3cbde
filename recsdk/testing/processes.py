"""The law that what a component learns does not depend on the process it runs in, such as by the order of a set of strings.

The other processes are started once, and stay until this one ends. A component goes to them by its class's name and its fields.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import importlib.util
import inspect
import json
import os
import subprocess
import sys
import unittest
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np

from recsdk import states as codec
from recsdk.base import Encoder, Policy, Retriever, Scorer
from recsdk.testing import events, purity
from recsdk.testing.states import brief, name, on_numpy

HASH_SEEDS = ("0", "1")


def check_processes(policy: Policy[Any]) -> None:
    """In other processes, with other seeds of Python's hashes, it learns a log and answers bit for bit as in this one."""
    compare(policy, name(policy), "policy")


def _fitted_scorer(scorer: Scorer[Any]) -> list[np.ndarray]:
    """Returns what a scorer says of the example's requests."""
    log = events.example_log()
    state = scorer.fit(log)
    scores = [np.array(scorer.score(state, events.request(log, row), log.items)) for row in range(3)]
    codec.close(scorer, state)
    return scores


def _fitted_encoder(encoder: Encoder[Any]) -> list[np.ndarray]:
    """Returns how an encoder that is fitted to the example encodes it."""
    log = events.example_log()
    state = encoder.fit(log)
    vectors = [np.array(encoder.encode_items(state, log.items)), np.array(encoder.encode_requests(state, log.requests))]
    codec.close(encoder, state)
    return vectors


def searched(retriever: Retriever[Any]) -> list[np.ndarray]:
    """Returns what a retriever finds in an index that was built and grew."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((200, 8 if retriever.uses_vectors else 0)).astype(np.float32)
    state = retriever.add(retriever.build(vectors[:100]), np.arange(100, 200), vectors)
    return [retriever.search(state, rng, -vectors[place], np.ones(200, bool), 10) for place in range(3)]


LIVES: dict[str, Callable[[Any], Sequence[np.ndarray]]] = {
    "policy": lambda policy: list(purity.lived(on_numpy(policy))),
    "scorer": _fitted_scorer,
    "encoder": _fitted_encoder,
    "retriever": searched,
}


def compare(component: Any, called: str, kind: str) -> None:
    """Asserts that a component lives bit for bit alike in this process and in others."""
    told = json.dumps({"kind": kind, "component": _told(component)})
    for seed in HASH_SEEDS:
        _tell(seed, told)  # all of them, so that they work at the same time
    try:
        wanted = LIVES[kind](component)
    finally:
        replies = {seed: _reply(seed) for seed in HASH_SEEDS}
    for seed, reply in replies.items():
        if "unknown" in reply:
            raise unittest.SkipTest(f"it cannot be made in another process: {reply['unknown']}")
        where = f"processes: {called}, in another process with PYTHONHASHSEED={seed}"
        assert "error" not in reply, f"{where}, raised {reply['error']}"
        for number, (got, here) in enumerate(zip(reply["answers"], wanted, strict=True)):
            assert np.array_equal(np.array(got), here.ravel()), (
                f"{where}, must give answer {number} as in this one, {brief(here)}, got {brief(np.array(got))}"
            )


def _told(value: Any) -> Any:
    """Returns a component as JSON: its class, where that is, and its fields."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return {"value": value}
    if isinstance(value, tuple):
        return {"tuple": [_told(part) for part in value]}
    if inspect.isfunction(value):
        return _named(value)
    kind = type(value)
    made_by = {key for base in kind.__mro__[:-1] for key in vars(base)} & {"__init__", "__new__"}
    if not attrs.has(kind) and (made_by or getattr(value, "__dict__", None)):
        raise unittest.SkipTest(f"{value!r:.100} cannot be told to another process: it is no attrs class of plain values")
    fields = [field for field in attrs.fields(kind) if field.init] if attrs.has(kind) else []
    return _named(kind) | {"fields": {field.alias: _told(getattr(value, field.name)) for field in fields}}


def _named(kind: Any) -> dict[str, Any]:
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return {"name": kind.__qualname__, "module": kind.__module__, "file": file}


def _made(told: Any) -> Any:
    """Returns the component that `_told` described."""
    if "value" in told:
        return told["value"]
    if "tuple" in told:
        return tuple(map(_made, told["tuple"]))
    found = _module(told["module"], told["file"])
    for part in told["name"].split("."):
        found = getattr(found, part)
    if "fields" not in told:
        return found
    return found(**{key: _made(value) for key, value in told["fields"].items()})


@functools.cache
def _module(called: str, file: str | None) -> Any:
    """Imports a module, by its name or where that is not on the path, as a test's may be, from its file."""
    if called == "__main__":  # to import a script is to run it, and this law in it
        raise ImportError("it is defined in __main__, not in a module")
    with contextlib.suppress(ImportError):
        return importlib.import_module(called)
    spec = None if file is None else importlib.util.spec_from_file_location(called, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{called!r} is in no file of Python")
    sys.modules[called] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def _process(seed: str) -> subprocess.Popen[str]:
    code = "from recsdk.testing.processes import serve; serve()"
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    atexit.register(process.communicate)
    return process


def _tell(seed: str, told: str) -> None:
    stdin = _process(seed).stdin
    assert stdin
    with contextlib.suppress(BrokenPipeError):  # `_reply` says so
        stdin.write(told + "\n")
        stdin.flush()


def _reply(seed: str) -> Any:
    process = _process(seed)
    assert process.stdout
    reply = process.stdout.readline()
    if reply:
        return json.loads(reply)
    _process.cache_clear()
    return {"error": f"nothing: the process ended with code {process.wait()}"}


def serve() -> None:
    """Reads components from standard input, a line each, and answers each with what it did; what they print goes to standard error."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # also of what native code prints
    for line in sys.stdin:
        told = json.loads(line)
        try:
            component = _made(told["component"])
        except (ImportError, AttributeError) as error:
            reply: dict[str, Any] = {"unknown": f"{type(error).__name__}: {error}"}
        else:
            try:
                reply = {"answers": [answer.ravel().tolist() for answer in LIVES[told["kind"]](component)]}
            except Exception as error:  # a plugin's code may raise anything
                reply = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()
