"""When kernels do the work."""

from importlib import metadata

import pytest

from recsdk import fast

numba = pytest.importorskip("numba")


@pytest.mark.parametrize(("version", "is_enough"), [("0.60.1", False), ("0.61.0rc1", True), ("1.0", True)])
def test_an_older_numba_is_left_alone(version, is_enough, monkeypatch):
    monkeypatch.delenv("RECSDK_FAST", raising=False)
    monkeypatch.setattr(metadata, "version", lambda name: version)
    assert fast.enabled.__wrapped__() == is_enough


def test_a_kernel_runs_where_its_machine_code_cannot_be_kept(monkeypatch):
    def refused(dispatcher):
        raise RuntimeError("no locator available")

    monkeypatch.setattr(numba.core.dispatcher.Dispatcher, "enable_caching", refused)
    assert fast.jit(nogil=True)(lambda number: number + 1)(2) == 3
