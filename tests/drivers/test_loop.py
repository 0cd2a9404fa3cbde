"""Walking the rounds on JAX: in pieces, with a number drawn ahead."""

import numpy as np
import pytest

from recsdk import JaxRandom, LinTS, LinUCB, Uniform, WithFloor, replay, simulate
from recsdk.drivers import loop
from recsdk.environments import LinearWorld

WORLD = LinearWorld(num_candidates=5, dim=3, noise=0.3)
ROUND_BYTES = 5 * (3 * 8 + 1 + 8) + 4 * 8


@pytest.fixture(scope="module")
def log():
    return simulate(Uniform(), WORLD, 101, seed=4, engine="numpy").log


def assert_same(one, other):
    for left, right in zip([*one.state, *one.decision, one.matched], [*other.state, *other.decision, other.matched], strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(("policy", "num_rounds"), [(LinUCB(), 1), (LinUCB(), 100), (WithFloor(policy=LinTS(num_draws=4)), 33)])
def test_a_log_in_pieces_of_any_size_is_walked_as_in_one_piece(log, policy, num_rounds, monkeypatch):
    whole = replay(policy, log, engine="jax", seed=6)
    monkeypatch.setattr(loop, "PIECE_BYTES", num_rounds * ROUND_BYTES)
    in_pieces = replay(policy, log, engine="jax", seed=6)
    assert in_pieces.decision.probs.shape == (101, 5)
    assert_same(in_pieces, whole)


def test_a_piece_holds_at_least_one_round(log, monkeypatch):
    monkeypatch.setattr(loop, "PIECE_BYTES", 1)
    assert replay(Uniform(), log, engine="jax").matched.shape == (101,)


def test_logs_of_every_length_share_one_compilation(log, monkeypatch):
    monkeypatch.setattr(loop, "PIECE_BYTES", 20 * ROUND_BYTES)
    policy = LinUCB(alpha=0.123)
    replay(policy, log, engine="jax")
    walk = loop._compiled(_step(policy))
    compiled = walk._cache_size()
    for num_rounds in (30, 57, 100):
        part = log._replace(context=type(log.context)(*(field[:num_rounds] for field in log.context)))
        replay(policy, part._replace(**{name: getattr(log, name)[:num_rounds] for name in log._fields[1:]}), engine="jax")
    assert walk._cache_size() == compiled


def _step(policy):
    from recsdk.drivers.replay import _step

    return _step(policy, "all")


def test_the_number_drawn_ahead_is_given_once_and_to_a_single_draw_only():
    import jax

    with jax.enable_x64(True):
        plain, rng = (JaxRandom(jax.random.key(3), *ahead) for ahead in ((), (0.25,)))
        numbers = [plain.random(), plain.random(2), plain.random()]
        assert rng.random(2).shape == (2,)
        assert rng.random() == 0.25
        assert 0.25 not in [rng.random(), *numbers[1]]
        assert len({float(number) for number in [numbers[0], *numbers[1], numbers[2]]}) == 4


def test_the_numbers_of_different_rounds_are_independent_and_uniform():
    log = simulate(Uniform(), LinearWorld(num_candidates=10, dim=1), 20_000, seed=8, engine="jax").log
    counts = np.bincount(log.action, minlength=10)
    pairs = np.bincount(10 * log.action[:-1] + log.action[1:], minlength=100)
    assert ((counts - 2000) ** 2 / 2000).sum() < 34  # chi-squared with 9 and 99 degrees of freedom: 1 in 10,000
    assert ((pairs - 200) ** 2 / 200).sum() < 161
