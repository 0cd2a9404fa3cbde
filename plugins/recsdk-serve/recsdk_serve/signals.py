"""The signals that stop a server: an application hears of them before its lifespan ends, for which the server waits for all streams."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def hearing(stop: Callable[[], None]) -> Iterator[None]:
    """Calls `stop` at SIGINT or SIGTERM, and then what the server has set for it; not so in another thread than the main one."""
    before: dict[int, Callable[[int, Any], Any]] = {}

    def heard(number: int, frame: Any) -> None:
        stop()
        before[number](number, frame)

    if threading.current_thread() is threading.main_thread():
        for stopping in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(stopping)
            if callable(handler):
                before[stopping] = handler
                signal.signal(stopping, heard)
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is heard:
                signal.signal(number, handler)
