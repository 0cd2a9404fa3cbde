"""Kernels do what the policies' own code says, step by step, and refuse what does not fit."""

import numpy as np
import pytest

from recsdk import Context, Interaction, NeuralLinear, NeuralSquareCB, WideDeep, arrays, fast, testing
from tests.processes import run_python

pytestmark = pytest.mark.skipif(not fast.enabled(), reason="Numba is not installed, or RECSDK_FAST is 0")

POLICIES = {
    "wide-deep": WideDeep(num_items=3, num_ridges=2, width=6, memory=20, batch_size=5),
    "wide-deep of one": WideDeep(num_items=1, width=1, memory=1, batch_size=1),
    "neural-squarecb": NeuralSquareCB(widths=(6,), memory=20, batch_size=5),
    "neural-squarecb of three layers": NeuralSquareCB(widths=(7, 3, 5), memory=20),
    "neural-linear": NeuralLinear(widths=(7, 4), memory=20, refresh=15),
}


def by_definition(monkeypatch, function, *arguments):
    with monkeypatch.context() as patch:
        patch.setattr(fast, "kernels", lambda policy, like: None)
        return function(*arguments)


def copied(state):
    return arrays.tree_map(np.array, state)


def worlds(num_candidates, dim, size, num_rounds, seed=0):
    """Yields rounds with padding, ties, items that share places, weights of 0 and rewards beyond the range."""
    rng = np.random.default_rng(seed)
    for number in range(num_rounds):
        features = rng.standard_normal((num_candidates, dim)) * (size if number % 5 == 0 else 1)
        features[: number % 3] = features[-1]
        context = Context(features, rng.random(num_candidates) < 0.7, rng.integers(0, 9, num_candidates))
        context.mask[number % num_candidates] = True
        reward = rng.normal() * (1 + 10 * (number > 20))
        yield Interaction(context, number % num_candidates, np.float64(reward), 0.5, np.float64(rng.choice([0, 0.5, 1, 2])))


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize(("num_candidates", "dim", "size", "tolerance"), [(7, 5, 1, 1e-12), (1, 1, 1, 1e-12), (9, 4, 1e3, 1e-9)])
def test_each_step_is_that_of_the_definition(monkeypatch, policy, num_candidates, dim, size, tolerance):
    """Extreme features saturate chances: their slopes are rounding, which Adam divides by itself, so states agree less there."""
    state = policy.init(np.linspace(-1, 1, dim))
    for number, interaction in enumerate(worlds(num_candidates, dim, size, 60)):
        answers = [
            function(state, np.random.default_rng(number), interaction.context)
            for function in (policy.probs, lambda *arguments: by_definition(monkeypatch, policy.probs, *arguments))
        ]
        np.testing.assert_allclose(*answers, rtol=0, atol=1e-12)
        wanted = by_definition(monkeypatch, policy.update, copied(state), interaction)
        state = policy.update(state, interaction)
        for got, defined in zip(arrays.leaves(state), arrays.leaves(wanted), strict=True):
            np.testing.assert_allclose(got, defined, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_a_kernel_does_the_work(monkeypatch, policy):
    called = []
    for make in ("wide_deep", "neural"):
        compiled = getattr(fast.kernels(policy, np.zeros(1)), make)()
        spied = compiled._replace(learn=lambda *arguments, learn=compiled.learn: called.append(learn(*arguments)))
        monkeypatch.setattr(fast.kernels(policy, np.zeros(1)), make, lambda spied=spied: spied)
    testing.states.learned(policy, testing.inputs.log(3, 5, 3))
    assert len(called) == 3


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_states_and_contexts_may_be_read_only_or_views_with_gaps(policy):
    rounds = list(worlds(5, 4, 1, 20))
    wanted = plain = policy.init(np.zeros(4))
    for interaction in rounds:
        features, mask, item = interaction.context
        views = Context(np.asfortranarray(features), np.repeat(mask, 2)[::2], np.repeat(item, 2)[::2])
        views = testing.inputs.frozen(interaction._replace(context=views))
        plain = arrays.tree_map(lambda array: np.asarray(array).T.copy().T, plain)
        for array in arrays.leaves(plain):
            array.flags.writeable = False
        given = [policy.probs(state, np.random.default_rng(0), row.context) for state, row in ((wanted, interaction), (plain, views))]
        np.testing.assert_allclose(*given, rtol=0, atol=1e-12)
        wanted, plain = policy.update(wanted, interaction), policy.update(plain, views)
    for got, expected in zip(arrays.leaves(plain), arrays.leaves(wanted), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-12)


@pytest.mark.parametrize("policy", [POLICIES["wide-deep"], POLICIES["neural-squarecb"]], ids=["wide-deep", "neural-squarecb"])
def test_sizes_that_do_not_fit_are_refused_and_change_nothing(policy):
    state = policy.init(np.zeros(4))
    before = copied(state)
    (right,) = worlds(5, 4, 1, 1)
    (narrow,) = worlds(5, 3, 1, 1)
    short = right.context._replace(mask=right.context.mask[:3])
    with pytest.raises(ValueError, match="must be of sizes that fit together"):
        policy.probs(state, None, short)
    with pytest.raises(ValueError, match="must be of sizes that fit together"):
        policy.update(state, narrow._replace(weight=np.float64(1)))
    for got, expected in zip(arrays.leaves(state), arrays.leaves(before), strict=True):
        np.testing.assert_array_equal(got, expected)


WITHOUT = """
import sys
from recsdk import NeuralLinear, NeuralSquareCB, WideDeep, fast, testing
assert not fast.enabled()
few = {"memory": 9}
for policy in (WideDeep(width=4, num_items=5, **few), NeuralSquareCB(widths=(4, 3), **few), NeuralLinear(widths=(4,), refresh=5, **few)):
    for check in testing.POLICY_CHECKS:
        if check.__name__ in ("check_update", "check_distribution", "check_padding", "check_snapshot", "check_purity", "check_extremes"):
            check(policy)
print("numba" in sys.modules, "jax" in sys.modules)
"""


def test_without_kernels_the_definition_serves_and_neither_numba_nor_jax_is_loaded():
    ended = run_python("-c", WITHOUT, RECSDK_FAST="0")
    assert ended.stdout == "False False\n", ended.stderr
