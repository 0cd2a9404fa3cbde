"""The built-in scorers under the conformance kit."""

from recsdk import testing
from recsdk.scorers.crossed import Crossed
from recsdk.scorers.ease import EASE
from recsdk.scorers.function import FunctionScorer
from recsdk.scorers.item_knn import ItemKNN
from recsdk.scorers.popularity import Popularity
from recsdk.scorers.recency import Recency
from recsdk.scorers.seq_item_knn import SeqItemKNN


def brevity(request, candidates):
    return [1 / len(name) for name in candidates.ids]


@testing.parametrize_scorers(
    Popularity(),
    Recency(),
    ItemKNN(max_users=64),
    Crossed(num_buckets=1024),
    SeqItemKNN(max_users=64),
    EASE(max_users=64),
    FunctionScorer(brevity),
)
def test_conforms(scorer, check):
    check(scorer)
