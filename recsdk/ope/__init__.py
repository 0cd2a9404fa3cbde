"""Off-policy evaluation: what another policy would have earned on the rounds of a log.

`evaluate` answers with estimates, the diagnostics that say how far to believe them, and a verdict; it refuses where the
log cannot answer. Each estimator is a short function from `Rounds` to `Terms`, each interval one from `Terms` to
`Estimate`. Everything is NumPy, float64.
"""

from recsdk.ope._importance import importance, ips, snips
from recsdk.ope._rounds import Rounds, rounds
from recsdk.ope.diagnostics import Diagnostics, diagnose
from recsdk.ope.verdict import Judgement, judge
from recsdk.ope.estimate import Estimate, delta
from recsdk.ope.evaluation import ESTIMATORS, Evaluation, evaluate
from recsdk.ope.matched import matched_mean
from recsdk.ope.model_based import dm, dr
from recsdk.ope.reward_model import fit_reward_model
from recsdk.ope.terms import Terms, add, average, influence, value

__all__ = [
    "ESTIMATORS",
    "Diagnostics",
    "Estimate",
    "Evaluation",
    "Judgement",
    "Rounds",
    "Terms",
    "add",
    "average",
    "delta",
    "diagnose",
    "dm",
    "dr",
    "evaluate",
    "fit_reward_model",
    "importance",
    "influence",
    "ips",
    "judge",
    "matched_mean",
    "rounds",
    "snips",
    "value",
]
