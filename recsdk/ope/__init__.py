"""Off-policy evaluation: what another policy would have earned on the rounds of a log.

`evaluate` answers with estimates, the diagnostics that say how far to believe them, and a verdict; it refuses where the
log cannot answer. Each estimator is a short function from `Rounds` to `Terms`, each interval one from `Terms` to
`Estimate`. Everything is NumPy, float64.
"""

from recsdk.ope.checked import Rounds, num_repeated, rounds
from recsdk.ope.diagnostics import Clipped, Diagnostics, diagnose
from recsdk.ope.evaluation import Evaluation, evaluate, finish
from recsdk.ope.learning import LinearSoftmax, RejectionReplay, accepted_mean, learn_softmax, rejection_replay
from recsdk.ope.loggers import balanced, weighted
from recsdk.ope.model_based import CrossFit, dm, dr, fit_reward_model, more_robust, sndr
from recsdk.ope.options import ESTIMATORS, Options
from recsdk.ope.regressors import MLP, Boosting, Logistic, Regressor, Ridge
from recsdk.ope.selection import Chosen, Selection, select, shrunk, slope, split
from recsdk.ope.stream import Partial, accumulate, merge
from recsdk.ope.terms import Estimate, Terms, add, average, by_page, delta, influence, value
from recsdk.ope.verdict import Judgement, judge
from recsdk.ope.weighting import (
    Clip,
    Optimistic,
    Shrink,
    SubGaussian,
    Switch,
    importance,
    ips,
    matched_mean,
    mips,
    same_category,
    snips,
    unshrunk,
)

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
