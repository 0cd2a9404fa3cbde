"""Off-policy evaluation: what another policy would have earned on the rounds of a log.

`evaluate` answers with estimates, the diagnostics that say how far to believe them, and a verdict; it refuses where the
log cannot answer. Each estimator is a short function from `Rounds` to `Terms`, each interval one from `Terms` to
`Estimate`. Everything is NumPy, float64.
"""

from recsdk.ope._importance import importance, ips, snips
from recsdk.ope._rounds import Rounds, rounds
from recsdk.ope._slope import Chosen, shrunk, slope
from recsdk.ope.diagnostics import Clipped, Diagnostics, diagnose
from recsdk.ope.duplicates import num_repeated
from recsdk.ope.estimate import Estimate, delta
from recsdk.ope.estimators import ESTIMATORS
from recsdk.ope.evaluation import Evaluation, evaluate, finish
from recsdk.ope.learning import RejectionReplay, accepted_mean, rejection_replay
from recsdk.ope.loggers import balanced, weighted
from recsdk.ope.marginal import mips, same_category
from recsdk.ope.matched import matched_mean
from recsdk.ope.model_based import dm, dr, sndr
from recsdk.ope.options import Options
from recsdk.ope.pages import by_page
from recsdk.ope.regressors import MLP, Boosting, Logistic, Regressor, Ridge
from recsdk.ope.reward_model import CrossFit, fit_reward_model, more_robust
from recsdk.ope.selection import Selection, select, split
from recsdk.ope.shrinkage import Clip, Optimistic, Shrink, SubGaussian, Switch, unshrunk
from recsdk.ope.softmax import LinearSoftmax, learn_softmax
from recsdk.ope.stream import Partial, accumulate, merge
from recsdk.ope.terms import Terms, add, average, influence, value
from recsdk.ope.verdict import Judgement, judge

__all__ = [
    "ESTIMATORS",
    "MLP",
    "Boosting",
    "Chosen",
    "Clip",
    "Clipped",
    "CrossFit",
    "Diagnostics",
    "Estimate",
    "Evaluation",
    "Judgement",
    "LinearSoftmax",
    "Logistic",
    "Optimistic",
    "Options",
    "Partial",
    "Regressor",
    "RejectionReplay",
    "Ridge",
    "Rounds",
    "Selection",
    "Shrink",
    "SubGaussian",
    "Switch",
    "Terms",
    "accepted_mean",
    "accumulate",
    "add",
    "average",
    "balanced",
    "by_page",
    "delta",
    "diagnose",
    "dm",
    "dr",
    "evaluate",
    "finish",
    "fit_reward_model",
    "importance",
    "influence",
    "ips",
    "judge",
    "learn_softmax",
    "matched_mean",
    "merge",
    "mips",
    "more_robust",
    "num_repeated",
    "rejection_replay",
    "rounds",
    "same_category",
    "select",
    "shrunk",
    "slope",
    "sndr",
    "snips",
    "split",
    "unshrunk",
    "value",
    "weighted",
]
