"""The built-in encoders under the conformance kit."""

from recsdk import testing
from recsdk.encoders.gru import GRU
from recsdk.encoders.sasrec import SASRec
from recsdk.encoders.two_tower import TwoTower

NO_HISTORY = "it reads the history in a request, which those of the example have not; its own tests show that it learns"


@testing.parametrize_encoders(TwoTower(dim=8, num_buckets=512, epochs=1, progress=False))
def test_conforms(encoder, check):
    check(encoder)


@testing.parametrize_encoders(
    SASRec(dim=8, num_layers=1, num_heads=2, max_length=8, epochs=1, progress=False),
    GRU(dim=8, max_length=8, epochs=1, progress=False),
    skip={"learns": NO_HISTORY},
)
def test_a_model_of_sequences_conforms(encoder, check):
    check(encoder)
