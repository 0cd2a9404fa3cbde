import numpy as np
import pytest
from recsdk_vw import VW, examples
from recsdk_vw.examples import Layout
from recsdk_vw.rounds import DIM, RNG, all_probs, context, equal, fold, rounds
from vowpalwabbit import Workspace

from recsdk.base import Context
from recsdk.errors import InvalidValue, LedgerMismatch

SPLIT = {"namespaces": (("u", 0, 2), ("i", 2, None)), "interactions": ("ui",)}


def with_items(log, num_items=7):
    """Gives candidates catalogue slots, and the reward to the slots below 3."""
    rng = np.random.default_rng(1)
    for one in log:
        item = rng.permutation(num_items)[: len(one.context.mask)]
        yield one._replace(context=one.context._replace(item=item), reward=np.asarray(float(item[one.action] < 3)))


def in_words(one):
    """Returns a round of `SPLIT` with items as plain Vowpal Wabbit's text, in the plugin's order of candidates."""
    rows = [
        f"|u 0:{row[0]:.9g} 1:{row[1]:.9g} |i 0:{row[2]:.9g} 1:{row[3]:.9g} |a {slot}"
        for row, slot in zip(one.context.features, one.context.item, strict=True)
    ]
    return rows, VW(exploration="softmax", item_namespace="a", **SPLIT).candidates(one.context, DIM).places


def test_namespaces_items_and_interactions_are_those_of_plain_vowpal_wabbit():
    policy = VW(exploration="softmax", item_namespace="a", namespaces=SPLIT["namespaces"], interactions=("ui", "uia"))
    plain = Workspace("--cb_explore_adf --quiet --softmax --interactions ui --interactions uia")
    state = policy.init(np.zeros(DIM))
    for one in with_items(rounds(60)):
        rows, order = in_words(one)
        answer = np.array(plain.predict("\n".join(rows[place] for place in order)))
        np.testing.assert_allclose(policy.probs(state, RNG, one.context)[order], answer, atol=2e-6)
        rows[int(one.action)] = f"0:{-one.reward}:{one.propensity:.9g} " + rows[int(one.action)]
        plain.learn("\n".join(rows[place] for place in order))
        state = policy.update(state, one)
    plain.finish()


def test_interactions_tell_apart_what_sums_cannot():
    rng = np.random.default_rng(0)

    def share_of_best(policy):
        state = policy.init(np.zeros(2))
        for _ in range(400):
            features = rng.choice([-1.0, 1.0], (2, 2))
            one = context(features)
            reward = float(features[0].prod() > 0)  # the candidate's sign must be that of the user
            state = policy.update(state, next(rounds(1))._replace(context=one, action=0, reward=reward, propensity=0.5))
        return policy.probs(state, RNG, context([[1.0, 1.0], [1.0, -1.0]]))[0]

    fields = {"exploration": "epsilon", "namespaces": (("u", 0, 1), ("i", 1, 2))}
    assert share_of_best(VW(**fields, interactions=("ui",))) > 0.9


def test_an_items_slot_is_a_feature_that_learns_what_phi_does_not_tell():
    log = list(with_items(rounds(300)))
    policy = VW(exploration="epsilon", item_namespace="a")
    state = fold(policy, log)
    one = Context(np.zeros((7, DIM)), np.ones(7, bool), np.arange(7))
    assert policy.probs(state, RNG, one)[:3].sum() > 0.9
    blind = VW(exploration="epsilon")
    np.testing.assert_allclose(blind.probs(fold(blind, log), RNG, one), 1 / 7)


def test_columns_in_no_namespace_are_not_seen():
    policy = VW(exploration="softmax", namespaces=(("f", 0, -1),))
    state = fold(policy, rounds(40))
    for one in rounds(5, 9):
        other = one.context._replace(features=one.context.features * [1, 1, 1, 7])
        assert equal([policy.probs(state, RNG, one.context)], [policy.probs(state, RNG, other)])


def test_zeros_are_left_out_where_they_are_most_and_vowpal_wabbit_learns_the_same(monkeypatch):
    rng = np.random.default_rng(0)

    def sparse(log):
        for one in log:
            keeps = rng.random(one.context.features.shape) < 0.3
            yield one._replace(context=one.context._replace(features=one.context.features * keeps))

    log, policy = list(sparse(rounds(80))), VW(exploration="softmax", interactions=("ff",))
    monkeypatch.setattr(examples, "MAX_DENSITY", 0.0)
    dense = all_probs(policy, fold(policy, log))
    monkeypatch.setattr(examples, "MAX_DENSITY", 1.0)
    assert equal(all_probs(policy, fold(policy, log)), dense)


def test_a_wide_sparse_row_is_as_short_as_its_features():
    features = np.zeros((2, 5000))
    features[0, [3, 4999]] = 0.5, -2.0
    shown = examples.candidates(context(features), 5000, Layout((("u", 0, 10), ("i", 10, None)), "a"))
    assert shown.rows == ['{"u":{"3":0.5},"i":{"4989":-2},"a":{"0":1}}', '{"u":{},"i":{},"a":{"1":1}}']


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"namespaces": (("user", 0, 2),)}, "VW.namespaces must be"),
        ({"namespaces": (("_", 0, 2),)}, "VW.namespaces must be"),
        ({"namespaces": (("u", 0),)}, "VW.namespaces must be"),
        ({"namespaces": (("u", -1, 2),)}, "start >= 0"),
        ({"namespaces": (("u", 0, 0),)}, "VW.namespaces must be"),
        ({"namespaces": (("u", 0, 1), ("u", 1, 2))}, "different letters"),
        ({"namespaces": ()}, "one at least"),
        ({"item_namespace": "f"}, "different letters"),
        ({"item_namespace": "item"}, "letters"),
        ({"interactions": ("uf",)}, r"VW.interactions must be .* among \['f'\] each, got 'uf'"),
        ({"interactions": ("f",)}, "two or more letters"),
        ({"interactions": "ff"}, "two or more letters"),
        ({"namespaces": (("u", 0, 5),)}, r"slices of phi's 4 columns, got \('u', 0, 5\)"),
        ({"namespaces": (("u", 4, None),)}, "slices of phi's 4 columns"),
    ],
)
def test_namespaces_and_interactions_that_do_not_go_together_are_refused(fields, match):
    with pytest.raises(InvalidValue, match=match):
        VW(exploration="epsilon", **fields).init(np.zeros(DIM))


def test_namespaces_may_come_as_lists_and_are_part_of_what_a_state_is_known_by():
    one = VW(exploration="epsilon", namespaces=[["u", 0, 2], ["i", 2, None]], interactions=["ui"])
    assert one == VW(exploration="epsilon", **SPLIT)
    other = VW(exploration="epsilon", namespaces=(("u", 0, 3), ("i", 3, None)), interactions=("ui",))
    with pytest.raises(LedgerMismatch, match="'u', 0, 2"):
        other.loads(one.dumps(one.init(np.zeros(DIM))))
