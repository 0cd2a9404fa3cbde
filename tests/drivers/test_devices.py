"""On which of JAX's devices a walk runs: on a CPU, unless the application has chosen."""

import types

import numpy as np
import pytest

import recsdk
from recsdk import arrays
from recsdk.base import Context, Interaction
from recsdk.environments import LinearWorld

jax = pytest.importorskip("jax")
CPU = jax.devices("cpu")[0]


def fake(default="gpu", chosen=None, cpus=("cpu:0",)):
    """Makes a JAX whose default device is of one kind, and which an application may have set."""

    def local_devices(backend):
        if backend != "cpu" or not cpus:
            raise RuntimeError(f"Unknown backend {backend}")
        return list(cpus)

    config = types.SimpleNamespace(jax_default_device=chosen)
    return types.SimpleNamespace(config=config, default_backend=lambda: default, local_devices=local_devices)


@pytest.mark.parametrize(
    ("library", "device"),
    [
        (fake(), "cpu:0"),
        (fake(default="cpu"), None),
        (fake(chosen="gpu:0"), None),  # the application's choice stands
        (fake(cpus=()), None),  # the application keeps JAX from CPUs
    ],
)
def test_where_jax_would_take_another_device_a_walk_takes_a_cpu_if_there_is_no_choice_and_there_is_one(library, device):
    assert arrays._device_for_small_steps(library) == device


def test_an_application_chooses_by_jax_itself(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert arrays._device_for_small_steps(jax) == CPU
    with jax.default_device(CPU):
        assert arrays._device_for_small_steps(jax) is None


class Noting:
    """A policy for JAX that notes the default device of whatever calls it."""

    runs_on, learns_from = ("jax",), "chosen"

    def __init__(self):
        self.noted = {}

    def _note(self, method):
        self.noted[method] = jax.config.jax_default_device

    def init(self, prior):
        self._note("init")
        return 0 * prior

    def probs(self, state, rng, context):
        self._note("probs")
        return context.mask / context.mask.sum()

    def update(self, state, interaction):
        self._note("update")
        return state + 0 * interaction.reward


def walk(policy):
    recsdk.simulate(policy, LinearWorld(num_candidates=2, dim=2), 3)


def live(policy):
    jitted, context = recsdk.Jitted(policy=policy), Context(np.eye(2), np.ones(2, bool), np.arange(2))
    state = jitted.init(np.zeros(2))
    action, propensity, _ = recsdk.decide(jitted, state, np.random.default_rng(0), context)
    recsdk.learn(jitted, state, Interaction(context, action, 1.0, propensity, 1.0))


@pytest.mark.parametrize("run", [walk, live])
def test_the_rule_holds_for_walks_and_live(monkeypatch, run):
    monkeypatch.setattr(arrays, "_device_for_small_steps", lambda library: CPU)
    policy = Noting()
    run(policy)
    assert policy.noted == dict.fromkeys(("init", "probs", "update"), CPU)
    assert jax.config.jax_default_device is None
