"""Folders go from processes with kernels to processes without and back, and say that the last digits differ."""

import pytest

from recsdk import (
    Discounted,
    DisjointLinTS,
    Jitted,
    LinTS,
    LinUCB,
    LogisticTS,
    NeuralSquareCB,
    OnColumns,
    Uniform,
    WideDeep,
    Windowed,
    WithFloor,
    fast,
)
from recsdk.live.arithmetic import arithmetic
from recsdk.live.identity import differences, identity
from recsdk.live.learner import MIXED
from recsdk.live.reproduce import reproduce
from tests.live.shop import open_recommender, serve
from tests.processes import run_python

POLICY = WideDeep(width=4, num_items=8, memory=20)

ELSEWHERE = """
import sys
from recsdk.live.reproduce import reproduce
from tests.live import test_arithmetic
if sys.argv[1] == "serve":
    test_arithmetic.served(sys.argv[2], range(int(sys.argv[3]), int(sys.argv[3]) + 8))
found = reproduce(sys.argv[2])
print(found.agreement, found.num_learned, found.arithmetic)
"""


def served(folder, numbers):
    with open_recommender(folder, encoder=None, scorers=["popularity"], policy=POLICY) as shop:
        serve(shop, numbers)
        return shop.audit()


def elsewhere(*arguments):
    ended = run_python("-c", ELSEWHERE, *map(str, arguments), RECSDK_FAST="0")
    assert not ended.returncode, ended.stderr
    return ended.stdout.strip()


@pytest.mark.skipif(not fast.enabled(), reason="Numba is not installed, or RECSDK_FAST is 0")
def test_a_folder_goes_on_with_and_without_kernels(tmp_path):
    assert served(tmp_path, range(8))
    here, there = reproduce(tmp_path), elsewhere("reproduce", tmp_path)
    assert (here.agreement, here.arithmetic) == ("same", arithmetic(POLICY))
    assert there == f"within rounding 8 {arithmetic()}"
    assert elsewhere("serve", tmp_path, 8).startswith("within rounding 16 ")  # the snapshot goes on from one with kernels
    assert served(tmp_path, range(16, 24)) in (True, False)
    assert reproduce(tmp_path).agreement == "within rounding"


@pytest.mark.skipif(not fast.enabled(), reason="Numba is not installed, or RECSDK_FAST is 0")
def test_only_policies_with_kernels_round_otherwise_where_there_are_kernels():
    assert arithmetic(LogisticTS(), DisjointLinTS()) == arithmetic() != arithmetic(POLICY)
    for policy in (LinTS(), NeuralSquareCB(), Discounted(policy=LinTS()), Windowed(policy=LinUCB())):
        assert arithmetic(LogisticTS(), WithFloor(policy=policy)) == arithmetic(POLICY) == arithmetic(policy)
    for wrapped in (WithFloor(policy=LinTS()), OnColumns(policy=LinTS(), columns=(0,))):
        for policy in (Windowed(policy=wrapped), Discounted(policy=wrapped), WithFloor(policy=Windowed(policy=wrapped))):
            assert arithmetic(policy) == arithmetic(POLICY)
    for policy in (Discounted(policy=LogisticTS()), WithFloor(policy=Uniform())):
        assert arithmetic(policy) == arithmetic()


def test_a_state_that_goes_on_from_other_arithmetic_is_mixed_until_it_is_folded_anew(tmp_path):
    assert elsewhere("serve", tmp_path, 0).startswith("same 8")
    with open_recommender(tmp_path, encoder=None, scorers=["popularity"], policy=POLICY) as shop:
        learner = shop._loop.learner
        assert learner.arithmetic == (MIXED if fast.enabled() else arithmetic(POLICY))
        learner.refold()
        assert learner.arithmetic == arithmetic(POLICY)


def test_a_policy_that_ran_on_jax_alone_is_the_same_one_on_numpy():
    stored = identity(WithFloor(policy=Jitted(policy=LinUCB(alpha=0.5))))
    assert differences(stored, WithFloor(policy=LinUCB(alpha=0.5))) == []
    assert differences(stored, WithFloor(policy=LinUCB(alpha=0.7))) == ["policy: alpha was 0.5, is 0.7"]
    assert differences(identity(Jitted(policy=LinUCB())), Jitted(policy=LinUCB())) == []
    (found,) = differences(identity(LinUCB()), Jitted(policy=LinUCB()))
    assert "Jitted" in found
