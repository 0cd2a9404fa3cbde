"""What an application does with JAX is its own: its settings change no simulation, and a forked child is told what it cannot do."""

import contextlib
import os

import jax
import numpy as np
import pytest

from recsdk import Interaction, Jitted, LinUCB, Uniform, WideDeep, arrays, decide, replay, simulate, sweep
from recsdk.base import Context
from recsdk.drivers import loop
from recsdk.drivers.replay import step_of
from recsdk.environments import LinearWorld
from tests.processes import run_python

WORLD = LinearWorld(num_candidates=3, dim=2)


@contextlib.contextmanager
def setting(name, value):
    before = getattr(jax.config, name)
    jax.config.update(name, value)
    try:
        yield
    finally:
        jax.config.update(name, before)


@pytest.fixture(scope="module")
def played():
    return simulate(LinUCB(), WORLD, 20, seed=1, engine="jax")


@pytest.mark.parametrize(
    ("name", "value"), [("jax_default_prng_impl", "rbg"), ("jax_threefry_partitionable", False), ("jax_transfer_guard", "disallow")]
)
def test_a_seeded_simulation_is_the_same_under_every_setting_of_the_application(played, name, value):
    with setting(name, value):
        again = simulate(LinUCB(), WORLD, 20, seed=1, engine="jax")
        assert getattr(jax.config, name) == value
        swept = sweep([LinUCB()], WORLD, num_rounds=20, seeds=[1], engine="jax")
    np.testing.assert_array_equal(again.log.reward, played.log.reward)
    np.testing.assert_allclose(swept.regret, played.regret.sum(), rtol=1e-9)


def test_a_policy_goes_live_where_transfers_are_disallowed():
    policy, context = Jitted(policy=LinUCB()), Context(np.eye(2), np.ones(2, bool), np.arange(2))
    with setting("jax_transfer_guard", "disallow"):
        state = policy.update(policy.init(np.zeros(2)), Interaction(context, 1, 1.0, 0.5, 1.0))
        assert decide(policy, state, np.random.default_rng(0), context).action == 1


FORK = """
import os, signal, sys
from recsdk import LinUCB, NeuralSquareCB, Jitted, simulate
from recsdk.environments import LinearWorld
from recsdk.errors import ForkedProcess
import numpy as np
if sys.argv[1] == "used":
    simulate(LinUCB(), LinearWorld(), 3, engine="jax")
elif sys.argv[1] == "used by the application":
    import jax
    jax.numpy.zeros(1)
else:
    import jax
child = os.fork()
if child == 0:
    signal.alarm(60)
    try:
        if sys.argv[2] == "simulate":
            simulate(LinUCB(), LinearWorld(), 3, engine="jax")
        elif sys.argv[2] == "mlp":
            from recsdk.ope._jax import train
            train(np.ones((4, 2)), np.ones(4), np.ones(4), seed=0, hidden=(2,), num_steps=2, batch_size=2, learning_rate=0.1, decay=0.0)
        elif sys.argv[2] == "poem":
            from recsdk.ope._jax import Tables, minimum
            minimum(Tables(np.ones((4, 2, 2)), np.ones((4, 2), bool), np.ones((4, 2)), np.ones((4, 2))), 0.1, 0.1, 3)
        else:
            Jitted(policy=LinUCB()).init(np.zeros(2))
    except ForkedProcess as error:
        print(error, flush=True)
        os._exit(7)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        ("used", "simulate", 7),
        ("used by the application", "init", 7),
        ("used by the application", "mlp", 7),
        ("used by the application", "poem", 7),
        ("imported", "simulate", 0),
    ],
)
def test_a_forked_child_is_refused_jax_only_after_its_parent_has_used_it(before, after, status):
    done = run_python("-W", "ignore", "-c", FORK, before, after)
    assert done.returncode == status, done.stderr
    if status:
        assert "forked after its parent had used JAX" in done.stdout


def test_a_replay_does_not_copy_a_large_state_in_each_round():
    log = simulate(Uniform(), WORLD, 4, engine="numpy").log
    policy = WideDeep(num_items=777, memory=55, width=3)
    state = policy.init(np.zeros(2))
    with arrays.on_jax():
        walk = loop._compiled(step_of(policy, "all"))
        text = walk.lower(state, log, loop._key(0, 1), 0, 0).compile().as_text()
    entry = text[text.index("ENTRY") :]
    copies = [line for line in text.splitlines() if " copy(" in line and "f64[777,3," in line and line not in entry]
    assert copies == []


def test_waiting_for_the_decision_changes_no_bit(played):
    policy = WideDeep(num_items=8, memory=16, width=3)
    one = replay(policy, played.log, engine="jax").state
    step = step_of(policy, "all", lambda probs, weight: weight)
    other, _ = loop.run(step, policy.init(np.zeros(2)), played.log, engine="jax", seed=0, stream=loop.REPLAY)
    for here, there in zip(arrays.leaves(one), arrays.leaves(other), strict=True):
        np.testing.assert_array_equal(here, there)
