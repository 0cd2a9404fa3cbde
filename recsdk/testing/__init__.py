"""The conformance kit: the laws that recsdk relies on, to be run by whoever writes a policy, a scorer, an encoder, a retriever or a ledger.

    from recsdk import testing

    @testing.parametrize(MyPolicy(), MyPolicy(alpha=2.0))
    def test_conforms(policy, check):
        check(policy)

`python -m recsdk.testing DISTRIBUTION` does the same for everything that a distribution has installed: see `Trial`.

Inputs are fixed, so that a law that holds once holds in every run: up to 100 candidates of up to 64 features, rewards in [-2, 2], catalogue
slots in [0, 128). `parametrize` needs pytest; the laws themselves do not.
"""

from recsdk.testing.encoders import ENCODER_CHECKS
from recsdk.testing.events import example_log
from recsdk.testing.ledgers import LEDGER_CHECKS
from recsdk.testing.parametrization import parametrize, parametrize_encoders, parametrize_retrievers, parametrize_scorers
from recsdk.testing.policies import POLICY_CHECKS
from recsdk.testing.retrievers import RETRIEVER_CHECKS
from recsdk.testing.scorers import SCORER_CHECKS
from recsdk.testing.trials import Trial

__all__ = [
    "ENCODER_CHECKS",
    "LEDGER_CHECKS",
    "POLICY_CHECKS",
    "RETRIEVER_CHECKS",
    "SCORER_CHECKS",
    "Trial",
    "example_log",
    "parametrize",
    "parametrize_encoders",
    "parametrize_retrievers",
    "parametrize_scorers",
]
