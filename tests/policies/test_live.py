"""Policies over policies, native ones inside, in the live loop: what a snapshot holds is what was learned."""

import numpy as np
import pytest

from recsdk import (
    EXP3,
    EXP4,
    Bag,
    Boltzmann,
    Budgeted,
    ByColumn,
    Conservative,
    EpsilonDecay,
    LinUCB,
    Mixture,
    OnColumns,
    TsallisINF,
    simulate,
    sweep,
)
from recsdk.environments import LinearWorld
from tests.live.shop import NativeTally, open_recommender, serve, state

NESTED = Budgeted(
    policy=EXP4(
        policies=(Bag(num_members=2), Mixture(policies=(OnColumns(policy=NativeTally(), columns=(0, -1)), EXP3()), shares=(0.5, 0.5)))
    ),
    cap=5,
    window=20,
)


@pytest.mark.parametrize(
    "policy",
    [
        NESTED,
        Conservative(policy=NativeTally(), baseline=EpsilonDecay()),
        TsallisINF(policies=(Boltzmann(), ByColumn())),
    ],
    ids=["nested", "conservative", "tsallis-inf"],
)
def test_it_recovers_to_the_last_bit_and_frees_what_it_opened(tmp_path, policy):
    opened = len(NativeTally.open_states)
    with open_recommender(tmp_path, policy=policy, snapshot_every=7) as shop:
        serve(shop, range(20))
        serve(shop, range(20, 30), size=3)
        learned = state(shop)
    with open_recommender(tmp_path, policy=policy, snapshot_every=7) as shop:
        assert state(shop) == learned
        serve(shop, range(30, 35))
    assert len(NativeTally.open_states) == opened


def test_a_sweep_over_their_floats_gives_what_each_gives_alone():
    world = LinearWorld(num_candidates=3, dim=3)
    policies = [
        Conservative(policy=LinUCB(alpha=alpha), baseline=Boltzmann(temperature=share), share=share)
        for alpha, share in ((0.1, 0.1), (1.0, 0.3))
    ]
    together = sweep(policies, world, num_rounds=50).regret
    alone = [simulate(policy, world, 50).regret.sum() for policy in policies]
    np.testing.assert_allclose(together, alone, rtol=1e-9)
    assert alone[0] != alone[1]
