"""Small and large trees, and what a walk of one must be, by sums over all items."""

import numpy as np

from recsdk import Boltzmann
from recsdk.semantic import build, fit

DIM = 6
TEMPERATURE, FLOOR = 0.3, 0.1


def vectors_of(num_items, dim=DIM, seed=0):
    """Returns f32[N, dim] around some twenty centres, as items of one kind are."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((20, dim))
    return (centres[rng.integers(20, size=num_items)] + 0.4 * rng.standard_normal((num_items, dim))).astype(np.float32)


def tree_of(num_items, *, levels=2, size=8, dim=DIM, seed=0):
    vectors = vectors_of(num_items, dim, seed)
    return build(fit(vectors, levels=levels, size=size, num_rounds=5, seed=seed), vectors)


def user_of(seed, dim=DIM):
    return np.random.default_rng(seed).standard_normal(dim).astype(np.float32)


def softmax_walk(tree, weights, user, excluded=(), *, temperature=TEMPERATURE, floor=FLOOR):
    """Returns f64[N], the probability of each slot where the policy is `Boltzmann`, computed over all items and not by walking.

    Args:
        tree: the items.
        weights: one vector f64[D] of the policy's mean for each step.
        user: f32[dim].
        excluded: slots.
        temperature: of the policy.
        floor: of the tree's.
    """
    allowed = tree.active.copy()
    allowed[list(excluded)] = False
    slots = np.flatnonzero(allowed)
    size, levels = tree.book.size, tree.book.levels
    codes = np.stack([tree.words[slots] // size**power % size for power in range(levels - 1, -1, -1)], axis=1)
    chance, group, centre = np.ones(len(slots)), np.zeros(len(slots), np.int64), np.zeros((len(slots), len(user)), np.float32)
    for level, weight in enumerate(weights):
        leaf = level == levels
        centre = tree.vectors[slots] if leaf else centre + tree.book.centroids[level][codes[:, level]]
        inner = group * len(tree.words) + slots if leaf else group * size + codes[:, level]
        products = centre * user
        features = np.concatenate([products.sum(axis=1)[:, None], products, np.ones((len(slots), 1), np.float32)], axis=1)
        scores = features.astype(np.float64) @ weight / temperature
        _, first, member = np.unique(inner, return_index=True, return_inverse=True)
        parents, parent = np.unique(group[first], return_inverse=True)
        top = np.full(len(parents), -np.inf)
        np.maximum.at(top, parent, scores[first])
        mass = np.exp(scores[first] - top[parent])
        chance *= (mass / np.bincount(parent, mass)[parent])[member]
        group = member
    probs = np.zeros(len(allowed))
    probs[slots] = (1 - floor) * chance + floor / len(slots)
    return probs


def taught(policy, tree, rounds=40):
    """Returns a state that has learned from some walks, and the weights of each of its steps."""
    state, rng = policy.init(tree), np.random.default_rng(5)
    for number in range(rounds):
        walk = policy.decide(state, rng, tree, user_of(number, tree.vectors.shape[1]))
        state = policy.update(state, walk, float(walk.item % 3 == 0))
    return state


def boltzmann(temperature=TEMPERATURE):
    return Boltzmann(temperature=temperature)
