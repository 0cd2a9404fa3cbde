"""Plugins get read-only input: what they write to it is refused by their name, and changes nothing that is logged."""

import json
from typing import ClassVar

import attrs
import numpy as np
import pytest

from recsdk import explore
from recsdk.errors import InvalidAnswer
from recsdk.live.guard import Features, named
from tests.live.shop import Hashing, catalogue, serve, small_recommender, state, tables


@attrs.frozen
class Writes:
    """A part of any kind that writes to what it is given."""

    columns: ClassVar[tuple[str, ...]] = ("writes",)
    dim: ClassVar[int] = 3
    runs_on: ClassVar[tuple[str, ...]] = ("numpy",)
    learns_from: ClassVar[str] = "chosen"

    write: object = attrs.field(repr=False)

    def fit(self, log, *, state=None, seed=0):
        return ()

    def init(self, prior=None):
        return ()

    def score(self, state, request, candidates):
        self.write(request, candidates)
        return np.zeros((len(candidates.ids), 1), np.float32)

    def probs(self, state, rng, context):
        self.write(context)
        return explore.uniform(context.mask)

    def update(self, state, interaction):
        return state


def centre(context):
    x = context.features
    x -= x.mean(0)


def renumber(context):
    context.item[:] = 0


def unmask(context):
    context.mask[0] = False


def price(request, candidates):
    candidates.features["price"] -= 1


def rename(request, candidates):
    candidates.ids[0] = "mine"


def move(request, candidates):
    candidates.slot[:] = 0


def age(request, candidates):
    candidates.added += 1


def annotate(request, candidates):
    request.features["score"] = 1


def drop(request, candidates):
    request.features.pop("user")


def assert_refused(shop, folder, error=InvalidAnswer, match=r"must not write to its input"):
    before = tables(folder), state(shop), catalogue(shop)
    with pytest.raises(error, match=match) as caught:
        shop.recommend({"user": "ann"}, decision_id="d")
    assert isinstance(caught.value.__cause__, (TypeError, ValueError))
    assert (tables(folder), state(shop), catalogue(shop)) == before


@pytest.mark.parametrize("write", [centre, renumber, unmask])
def test_a_policy_that_writes_to_its_context_is_refused(tmp_path, write):
    with small_recommender(tmp_path, policy=Writes(write), scorers=["recency"]) as shop:
        assert_refused(shop, tmp_path, match=r"Writes\(\).* must not write to its input")


@pytest.mark.parametrize("write", [price, rename, move, age, annotate, drop])
def test_a_scorer_that_writes_to_its_input_is_refused(tmp_path, write):
    with small_recommender(tmp_path, scorers=[Writes(write)]) as shop:
        assert_refused(shop, tmp_path, match=r"Writes\(\) must not write to its input")


@pytest.mark.parametrize("write", [price, rename, move, age, annotate])
def test_a_rule_that_writes_to_its_input_is_refused(tmp_path, write):
    def rule(request, items):
        write(request, items)
        return np.ones(len(items.ids), bool)

    with small_recommender(tmp_path, rules=[rule]) as shop:
        assert_refused(shop, tmp_path, match=r"rule at .* must not write to its input")


@attrs.frozen(kw_only=True)
class Scales(Hashing):
    def encode_requests(self, state, requests):
        requests["age"] /= 10
        return super().encode_requests(state, requests)


def test_an_encoder_that_writes_to_its_input_is_refused(tmp_path):
    with small_recommender(tmp_path, encoder=Scales()) as shop, pytest.raises(InvalidAnswer, match=r"Scales.* must not write"):
        shop.recommend({"age": 3})


@attrs.frozen
class Spoils:
    """A policy that counts in its state, in place; then it does with the context what it is told to do at such a reward."""

    runs_on: ClassVar[tuple[str, ...]] = ("numpy",)
    learns_from: ClassVar[str] = "chosen"

    spoil: dict = attrs.field(repr=False, eq=False)

    def init(self, prior):
        return np.zeros(1)

    def probs(self, state, rng, context):
        return explore.uniform(context.mask)

    def update(self, state, interaction):
        state += 1
        spoil = self.spoil.get(interaction.reward)
        return state if spoil is None else spoil(interaction.context)


@pytest.mark.parametrize(("spoil", "told"), [(unmask, "must not write to its input"), (lambda _: None, "got None")])
def test_what_a_policy_spoils_while_it_learns_is_refused_by_its_name_and_undone(tmp_path, spoil, told):
    policy = Spoils({})
    with small_recommender(tmp_path, policy=policy, scorers=["recency"], floor=0) as shop:
        slates = serve(shop, range(3))
        before = tables(tmp_path), state(shop)
        policy.spoil[0.5] = spoil
        with pytest.raises(InvalidAnswer, match=rf"Spoils\(\).*{told}"):
            shop.reward(slates[0].decision_id, 0.5, item=slates[0].ids[1])
        assert (tables(tmp_path), state(shop)) == before
        serve(shop, range(3, 6))
        assert shop.audit()
        policy.spoil[1.0] = spoil
        with pytest.raises(InvalidAnswer, match=rf"Spoils\(\).*{told}"):  # a fold refuses what is refused live
            shop.audit()


def test_an_error_where_no_part_was_asked_passes_as_it_is():
    error = ValueError("assignment destination is read-only")
    assert named(None, error) is error
    assert isinstance(named(Spoils({}), error), InvalidAnswer)


def test_an_error_of_a_plugins_own_passes_as_it_is(tmp_path):
    def fails(request, candidates):
        raise TypeError("mine")

    with small_recommender(tmp_path, scorers=[fails]) as shop, pytest.raises(TypeError, match="mine") as caught:
        shop.recommend({})
    assert not isinstance(caught.value, InvalidAnswer)


def test_features_are_a_dict_to_whoever_reads_them():
    features = Features({"age": 31, "city": "Rome"})
    assert isinstance(features, dict)
    assert features == {"age": 31, "city": "Rome"}
    assert json.loads(json.dumps(features)) == {**features} == dict(features) == features.copy()
    assert features.get("none", 3) == 3


@pytest.mark.parametrize(
    "read",
    [
        lambda features: features["age"],
        lambda features: features.get("age"),
        lambda features: "age" in features,
        lambda features: list(features),
        lambda features: dict(features),
        lambda features: {**features},
        lambda features: features | {},
        lambda features: json.dumps(features),
        lambda features: [*features.values()],
        lambda features: [*features.items()],
        lambda features: features.copy(),
    ],
)
def test_whatever_reads_a_feature_is_noticed(read):
    features = Features({"age": 31})
    read(features)
    assert features.read == {"age"}
    assert Features({"age": 1}).plain() == {"age": 1}
