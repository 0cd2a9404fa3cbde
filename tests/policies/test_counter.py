"""Numbers from a counter are as good as random ones, and the same on both engines."""

import numpy as np
import pytest

from recsdk.policies import _counter
from recsdk.policies._counter import Counted


def uniforms(num, size=50):
    return np.stack([Counted(np.asarray(count)).random(size) for count in range(num)])


def splitmix(state, num):
    """SplitMix64 in Python's whole numbers."""
    words = []
    for place in range(1, num + 1):
        word = (state + place * 0x9E3779B97F4A7C15) % 2**64
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) % 2**64
        words.append(word ^ (word >> 31))
    return words


def mixed(word):
    return splitmix((word - 0x9E3779B97F4A7C15) % 2**64, 1)[0]


@pytest.mark.parametrize(("count", "stream"), [(0, 0), (1, 0), (2**40, 3), (2**62, 2**31)])
def test_words_are_those_of_splitmix(count, stream):
    assert _counter.words(np.asarray(count), stream, 5).tolist() == splitmix(mixed((mixed(stream + 1) + count) % 2**64), 5)


def test_the_reference_generator_is_the_published_one():
    assert splitmix(1234567, 3) == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_uniform_numbers_are_uniform_and_independent_of_their_neighbours():
    numbers = uniforms(2000)
    assert 0 <= numbers.min() < numbers.max() < 1
    counts = np.histogram(numbers, bins=20, range=(0, 1))[0]
    assert ((counts - 5000) ** 2 / 5000).sum() < 50  # chi-square with 19 degrees: p = 1e-4
    for one, other in ((numbers[1:], numbers[:-1]), (numbers[:, 1:], numbers[:, :-1])):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4 / one.size**0.5


def test_normal_numbers_have_the_normal_moments():
    numbers = np.concatenate([Counted(np.asarray(count)).standard_normal((10, 10)).ravel() for count in range(400)])
    moments = np.array([(numbers**power).mean() for power in (1, 2, 3, 4)])
    errors = np.sqrt(np.array([1, 2, 15, 96]) / len(numbers))
    assert (np.abs(moments - [0, 1, 0, 3]) < 4 * errors).all()


def test_a_second_call_gives_other_numbers_and_the_same_counter_the_same():
    rng, again = Counted(np.asarray(5)), Counted(np.asarray(5))
    first, second = rng.random(4), rng.random(4)
    assert not set(first) & set(second)
    np.testing.assert_array_equal([again.random(4), again.random(4)], [first, second])


@pytest.mark.parametrize(("shape", "wanted"), [(None, ()), ((), ()), (3, (3,)), ((2, 3), (2, 3))])
def test_shapes_are_those_of_a_generator(shape, wanted):
    for draw in (Counted(np.asarray(0)).random, Counted(np.asarray(0)).standard_normal):
        assert np.shape(draw(shape)) == wanted == np.shape(np.random.default_rng(0).random(shape))


def test_jax_gives_the_same_numbers():
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        got = jax.jit(lambda count: (Counted(count).random((2, 3)), _counter.words(count, 2**31, 4)))(jax.numpy.asarray(77))
    np.testing.assert_array_equal(got[0], Counted(np.asarray(77)).random((2, 3)))
    np.testing.assert_array_equal(got[1], _counter.words(np.asarray(77), 2**31, 4))
