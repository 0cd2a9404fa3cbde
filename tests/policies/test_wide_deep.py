import numpy as np
import pytest

from recsdk import testing
from recsdk.policies.wide_deep import WideDeep

SMALL = WideDeep(width=8, num_items=50, memory=64)


@testing.parametrize(SMALL)
def test_conforms(policy, check):
    check(policy)
