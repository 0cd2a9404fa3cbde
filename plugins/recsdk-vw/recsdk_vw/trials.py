"""How `python -m recsdk.testing recsdk-vw` tries the explorations, on the kit's rewards in [-2, 2]."""

from __future__ import annotations

from recsdk.testing import Trial

RANGE = {"min_reward": -2.0, "max_reward": 2.0}
LINES = "what it learned it keeps as lines, up to 4 MiB, before it begins anew from a model"

TRIALS = {
    "vw-epsilon": Trial(hyperparameters=RANGE, skip={"memory": LINES}),
    # Vowpal Wabbit's 1 is nearly uniform, and so learns too little.
    "vw-softmax": Trial(hyperparameters={**RANGE, "inverse_temperature": 5.0}, skip={"memory": LINES}),
    "vw-bag": Trial(hyperparameters=RANGE, skip={"memory": LINES}),
    "vw-cover": Trial(hyperparameters=RANGE, skip={"memory": LINES}),
    "vw-squarecb": Trial(hyperparameters=RANGE, skip={"memory": LINES}),
    # With its 0.1 all candidates stay plausible for the kit's 1000 rounds.
    "vw-regcb": Trial(hyperparameters={**RANGE, "mellowness": 1e-3}, skip={"memory": LINES}),
    "vw-rnd": Trial(
        hyperparameters=RANGE, skip={"memory": LINES, "extremes": "features of 1e30, squared in float32, make Vowpal Wabbit answer NaN"}
    ),
    "vw-first": Trial(hyperparameters=RANGE, skip={"memory": LINES}),
}
