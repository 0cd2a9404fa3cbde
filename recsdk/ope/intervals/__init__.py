"""Intervals around an estimate, each valid under other conditions; docs/explanation/which-interval.md says which to take.

Of terms, like `recsdk.ope.delta`: `bootstrap`, `moving_block`, `adaptively_weighted`. Of bounded rewards and weights, at any size of the
log: `empirical_bernstein`, `clopper_pearson`, `empirical_likelihood`. At every look at once: `confidence_sequence`, `drifting_sequence`.
"""

from recsdk.ope.intervals.adaptive import adaptively_weighted, trailing_variance
from recsdk.ope.intervals.bounds import Bounded, bounded, clopper_pearson, empirical_bernstein, empirical_likelihood, join
from recsdk.ope.intervals.resampling import Resampled, bootstrap, merge, moving_block, resample, studentised
from recsdk.ope.intervals.sequence import Sequence, confidence_sequence, drifting_sequence
from recsdk.ope.intervals.validity import VALIDITY, Validity, caveats

__all__ = [
    "VALIDITY",
    "Bounded",
    "Resampled",
    "Sequence",
    "Validity",
    "adaptively_weighted",
    "bootstrap",
    "bounded",
    "caveats",
    "clopper_pearson",
    "confidence_sequence",
    "drifting_sequence",
    "empirical_bernstein",
    "empirical_likelihood",
    "join",
    "merge",
    "moving_block",
    "resample",
    "studentised",
    "trailing_variance",
]
