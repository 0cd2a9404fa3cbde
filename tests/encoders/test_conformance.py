"""The built-in encoder under the conformance kit."""

from recsdk import testing
from recsdk.encoders.two_tower import TwoTower


@testing.parametrize_encoders(TwoTower(dim=8, num_buckets=512, epochs=1, progress=False))
def test_conforms(encoder, check):
    check(encoder)
