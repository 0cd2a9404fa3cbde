"""The built-in scorers under the conformance kit."""

from recsdk import testing
from recsdk.encoders.gru import GRU
from recsdk.scorers.content import Content
from recsdk.scorers.crossed import Crossed
from recsdk.scorers.dot import Dot
from recsdk.scorers.ease import EASE
from recsdk.scorers.ensemble import Ensemble
from recsdk.scorers.function import FunctionScorer
from recsdk.scorers.item_knn import ItemKNN
from recsdk.scorers.popularity import Popularity
from recsdk.scorers.recency import Recency
from recsdk.scorers.request_features import RequestFeatures
from recsdk.scorers.seq_item_knn import SeqItemKNN
from recsdk.scorers.user_knn import UserKNN
from recsdk.testing import example_log


def brevity(request, candidates):
    return [1 / len(name) for name in candidates.ids]


@testing.parametrize_scorers(
    Popularity(),
    Recency(),
    ItemKNN(max_users=64),
    Crossed(num_buckets=1024),
    SeqItemKNN(max_users=64),
    EASE(max_users=64),
    UserKNN(max_users=64),
    Content(max_users=64),
    Ensemble(scorers=(SeqItemKNN(max_users=64), EASE(max_users=64), Recency())),
    RequestFeatures(features=("age", "not there")),
    FunctionScorer(brevity),
)
def test_conforms(scorer, check):
    check(scorer)


UNTAKEN = example_log()._replace(reward=example_log().reward * 0)
"""A log in which nothing was taken: an encoder gets a vocabulary, and no program is compiled."""


@testing.parametrize_scorers(Dot(encoder=GRU(dim=8)), log=UNTAKEN)
def test_an_encoder_as_a_scorer_conforms(scorer, check):
    check(scorer)
