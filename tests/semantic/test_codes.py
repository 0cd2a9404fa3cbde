"""Codebooks: words that begin alike for items that are alike."""

import numpy as np
import pytest

from recsdk.errors import InvalidValue
from recsdk.semantic import Codebook, encode, fit
from tests.semantic.worlds import DIM, vectors_of

VECTORS = vectors_of(3000)


def error(book, vectors):
    left = vectors.copy()
    for level, codes in enumerate(encode(book, vectors).T):
        left -= book.centroids[level][codes]
    return float(np.square(left).sum(axis=1).mean())


def test_a_code_is_the_nearest_centroid_to_what_the_codes_before_leave():
    book = fit(VECTORS, levels=3, size=16)
    left = VECTORS.astype(np.float64)
    for level, codes in enumerate(encode(book, VECTORS).T):
        distances = np.square(left[:, None] - book.centroids[level]).sum(axis=2)
        chosen = distances[np.arange(len(left)), codes]
        assert (chosen <= distances.min(axis=1) + 1e-5).all()
        left -= book.centroids[level][codes]


def test_each_level_and_each_round_leaves_less():
    spread = float(np.square(VECTORS - VECTORS.mean(axis=0)).sum(axis=1).mean())
    errors = [error(fit(VECTORS, levels=levels, size=16), VECTORS) for levels in (1, 2, 3)]
    assert errors[0] < 0.5 * spread
    assert errors[1] < 0.8 * errors[0]
    assert errors[2] < 0.8 * errors[1]
    assert error(fit(VECTORS, levels=1, size=16, num_rounds=10), VECTORS) < error(fit(VECTORS, levels=1, size=16, num_rounds=1), VECTORS)


def test_a_codebook_is_a_function_of_its_arguments():
    books = [fit(VECTORS, levels=2, size=16, num_sampled=1000, seed=seed).centroids for seed in (1, 1, 2)]
    assert np.array_equal(books[0], books[1])
    assert not np.array_equal(books[0], books[2])


def test_no_centroid_is_idle_where_there_are_enough_vectors():
    assert len(np.unique(encode(fit(VECTORS, levels=1, size=64), VECTORS))) == 64


def test_a_centroid_that_none_is_nearest_to_goes_where_it_is_missed():
    rows = np.concatenate([np.repeat(VECTORS[:1], 2000, axis=0), VECTORS[1:41]])
    assert error(fit(rows, levels=1, size=64), rows) < 1e-9, "a draw of 64 rows is mostly of one vector"


@pytest.mark.parametrize("num_items", [1, 3, 7])
def test_fewer_vectors_than_codes_are_told_apart_exactly(num_items):
    few = VECTORS[:num_items]
    book = fit(few, levels=2, size=8)
    assert len(np.unique(encode(book, few)[:, 0])) == num_items
    assert error(book, few) == 0


def test_equal_vectors_share_a_word():
    book = fit(np.ones((50, DIM), np.float32), levels=2, size=4)
    assert len(np.unique(encode(book, np.ones((50, DIM), np.float32)), axis=0)) == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"levels": 0}, "levels must be a whole number >= 1, got 0"),
        ({"size": 1}, "size must be a whole number >= 2, got 1"),
        ({"levels": 9, "size": 256}, r"size \*\* levels must be at most 2 \*\* 62"),
        ({"vectors": VECTORS.astype(np.float64)}, "vectors must be float32"),
        ({"vectors": VECTORS[:0]}, "vectors must have at least one row"),
        ({"vectors": np.array([[1.0], [np.nan]], np.float32)}, "vectors must be finite, got .* in row 1"),
    ],
    ids=str,
)
def test_what_cannot_be_fitted_is_refused(changed, message):
    with pytest.raises(InvalidValue, match=message):
        fit(**{"vectors": VECTORS, **changed})


def test_vectors_of_another_width_have_no_words():
    with pytest.raises(InvalidValue, match=r"vectors must be float32\[N, 2\], got float32\[3000, 6\]"):
        encode(Codebook(np.zeros((1, 2, 2), np.float32)), VECTORS)
