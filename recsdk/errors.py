"""Every error that recsdk raises on purpose, and every warning.

RecsdkError
|- InvalidValue (ValueError)         a value out of its range; the message has its name, the value, what would be right
|  |- InvalidContext                 features, mask or item of a wrong shape, type, or not finite
|  |- InvalidReward                  a reward that is not a finite number
|  |- InvalidPropensity              a propensity outside (0, 1]
|  |- InvalidAnswer                  a plugin's answer that breaks its contract: the server's fault, not the caller's
|  |  |- InvalidProbs                a policy's answer that is not a distribution
|  |  `- InvalidScores               a scorer's, encoder's or rule's answer of a wrong shape or type, not finite, or too large
|  |- InvalidRequest                 a request or item that cannot be stored or encoded
|  |- InvalidLog                     a log with a bad row; the message has its number
|  |- EmptyLog                       a log without rows
|  |- EarlyDecision                  a local decision whose time is still to come: it waits
|  |- EmptyCandidates                nothing to choose from
|  |- TooFewCandidates               fewer candidates than positions
|  |- TooManyCandidates              more candidates named than one request may
|  `- DuplicateCandidates            one item twice among the candidates, or twice in the catalogue
|- Unknown (LookupError)             a name that is not there; the message has the nearest
|  |- UnknownItem
|  |- UnknownDecision
|  |  `- ExpiredDecision             a decision that was dropped by its age
|  `- UnknownPlugin
|- Conflict (ValueError)             an identifier used again for something else
|  |- DecisionConflict
|  `- RewardConflict
|- PluginError (ImportError)
|  |- PluginClash                    two distributions give one name
|  |- PluginLoadError                a plugin that raises, exits, or is made for another interface
|  `- MissingExtra                   an optional dependency that is not installed
|- LedgerError (OSError)
|  |- LedgerLocked                   another process has the folder open
|  |- LedgerMismatch                 the folder was made with other parts than those given
|  |- LedgerCorrupt                  stored bytes that are not what was written
|  |- LedgerChanged                  records were forgotten or dropped while the ledger was read: read again
|  `- LedgerStopped                  an open ledger that can promise nothing any more: open the folder again
|- ForkedProcess (RuntimeError)      JAX in a process forked after its parent had used JAX: the call would never return
|- CheckpointError (OSError)         the file of a model cannot be used
|  |- CheckpointMismatch             the file is of another format, or of a model of other sizes
|  `- CheckpointCorrupt              a file that is not what was written
|- InsufficientOverlap (ValueError)  a log that cannot answer for this target policy
|- Unproven (ValueError)             a challenger that has not been shown to be better
`- ModelRefused                      a model that cannot be served; the one before it serves on
RecsdkWarning (UserWarning)
|- IgnoredInput                      input that nothing reads, or that was left out; said once
|- Untrained                         an encoder that was given no history
|- OpenDecisions                     decisions that may still be rewarded, counted as unrewarded
|- UnfitDecisions                    decisions that were not drawn, left out of a log for evaluation
|- ChangedSetting                    a folder opened with another setting than before
`- LostRecords                       the last moments before a power cut, at a durability that does not keep them
"""

from __future__ import annotations

import contextlib
import difflib
import itertools
import os
import sys
import warnings
from collections.abc import Iterable


class RecsdkError(Exception):
    """Base of all errors of recsdk."""


class InvalidValue(RecsdkError, ValueError):
    """A value out of its range."""


class InvalidContext(InvalidValue):
    """Features, mask or item of a wrong shape or type, or not finite."""


class InvalidReward(InvalidValue):
    """A reward that is not a finite number."""


class InvalidPropensity(InvalidValue):
    """A propensity outside (0, 1]."""


class InvalidAnswer(InvalidValue):
    """A plugin's answer breaks its contract, or the plugin writes to its input. This is the server's fault, not the caller's."""


class InvalidProbs(InvalidAnswer):
    """A policy's answer that is not a distribution over the candidates."""


class InvalidScores(InvalidAnswer):
    """A scorer's, encoder's or rule's answer of a wrong shape or type, not finite, or beyond the largest score."""


class InvalidRequest(InvalidValue):
    """A request or an item that cannot be stored or encoded."""


class InvalidLog(InvalidValue):
    """A log with a bad row; the message has the row's number."""


class EmptyLog(InvalidValue):
    """A log without rows."""


class EarlyDecision(InvalidValue):
    """A decision that another process made later than the recommender's clock says: it can be sent again."""


class EmptyCandidates(InvalidValue):
    """Nothing to choose from."""


class TooFewCandidates(InvalidValue):
    """Fewer candidates than positions to fill."""


class TooManyCandidates(InvalidValue):
    """More candidates named than a request may score."""


class DuplicateCandidates(InvalidValue):
    """One item twice, among the candidates or in the catalogue."""


class Unknown(RecsdkError, LookupError):
    """A name that is not there."""


class UnknownItem(Unknown):
    """An item that is not in the catalogue, or was not shown in this decision."""


class UnknownDecision(Unknown):
    """A decision that is not in the ledger."""


class ExpiredDecision(UnknownDecision):
    """A decision that was dropped by its age, see `Recommender.drop`."""


class UnknownPlugin(Unknown):
    """A name that no installed distribution gives."""


class Conflict(RecsdkError, ValueError):
    """An identifier used again for something else."""


class DecisionConflict(Conflict):
    """A decision_id used again with another request."""


class RewardConflict(Conflict):
    """A reward_id used again with another value, or a second reward for one shown item."""


class PluginError(RecsdkError, ImportError):
    """A plugin that cannot be used; the rest of recsdk works on."""


class PluginClash(PluginError):
    """Two distributions give one name: ask for `distribution:name`."""


class PluginLoadError(PluginError):
    """A plugin that raises or exits when it is imported, or is made for another version of the interface."""


class MissingExtra(PluginError):
    """An optional dependency that is not installed."""


def install(extra: str) -> str:
    """Returns the command that installs an extra, for messages. It is one for a checkout: recsdk is on no index yet.

    Example:
        >>> install("deep")
        "pip install '.[deep]' in the folder of recsdk"
    """
    return f"pip install '.[{extra}]' in the folder of recsdk"


class LedgerError(RecsdkError, OSError):
    """The ledger's folder cannot be used."""


class LedgerLocked(LedgerError):
    """Another process has the folder open."""


class LedgerMismatch(LedgerError):
    """The folder was made with other parts than those given."""


class LedgerCorrupt(LedgerError):
    """Stored bytes that are not what was written."""


class LedgerChanged(LedgerError):
    """Records were forgotten or dropped while the ledger was read: what is read now is of before, and parts of it are gone. Read again."""


class LedgerStopped(LedgerError):
    """An open ledger that can promise nothing any more: its files were replaced, or the disk failed. Open the folder again."""


class ForkedProcess(RecsdkError, RuntimeError):
    """JAX is used in a process that was forked after its parent had used JAX. Such a call would never return."""


class CheckpointError(RecsdkError, OSError):
    """The file of a model cannot be used."""


class CheckpointMismatch(CheckpointError):
    """The file is of another format, or of a model of other sizes."""


class CheckpointCorrupt(CheckpointError):
    """A file that is not what was written."""


class InsufficientOverlap(RecsdkError, ValueError):
    """The log cannot answer for this target policy."""


class Unproven(RecsdkError, ValueError):
    """A challenger has not been shown to be better than the policy that decides."""


class ModelRefused(RecsdkError):
    """A model cannot be served: it could not be fitted, or failed on stored requests. The one before it serves on."""


class RecsdkWarning(UserWarning):
    """Base of all warnings of recsdk."""


class IgnoredInput(RecsdkWarning):
    """Input that nothing reads, or that was left out. It is said once; `warnings.simplefilter("error", IgnoredInput)` makes it an error."""


class Untrained(RecsdkWarning):
    """An encoder was given no history, so it has learned nothing."""


class OpenDecisions(RecsdkWarning):
    """Decisions that may still be rewarded, counted as unrewarded."""


class UnfitDecisions(RecsdkWarning):
    """Decisions that were not drawn are left out of a log for evaluation."""


class ChangedSetting(RecsdkWarning):
    """A folder opened with another setting than before; the new one holds from now on."""


class LostRecords(RecsdkWarning):
    """Records that a power cut took from a ledger, at a durability that does not keep them."""


def warn(text: str, category: type[RecsdkWarning]) -> None:
    """Warns of the line that called recsdk, however deep inside of recsdk the reason was found.

    Example:
        >>> import warnings
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn("nothing reads it", IgnoredInput)
        >>> caught[0].category.__name__
        'IgnoredInput'
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)


_INSIDE = (os.path.dirname(__file__) + os.sep, contextlib.__file__, "<attrs generated")


def quoted(value: object, longest: int = 80) -> str:
    """Returns the `repr` of a value for a message; of a long one the beginning and the end.

    Example:
        >>> quoted("short"), quoted("a" * 40 + "b" * 40, 30)
        ("'short'", "'aaaaaaaaaaaaaaaaaaaa' ... 'bbbbbbbbbb'")
    """
    text = repr(value)
    if len(text) <= longest + 2:
        return text
    head, tail = longest * 2 // 3, longest // 3
    if isinstance(value, (str, bytes)):
        return f"{value[:head]!r} ... {value[-tail:]!r}"
    return f"{text[:head]} ... {text[-tail:]}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns " Did you mean 'x'?" for the known name closest to `name`, or an empty string.

    Of more than 256 known names, or for a name longer than 128 characters, there is no suggestion: to compare all would take longer than
    what the caller asked for.

    Example:
        >>> nearest("aple", ["apple", "pear"])
        " Did you mean 'apple'?"
    """
    text, names = str(name), list(itertools.islice(known, 257))
    if len(names) > 256 or len(text) > 128:
        return ""
    match = difflib.get_close_matches(text, names, n=1)
    return f" Did you mean {match[0]!r}?" if match else ""


def one_of(field: str, value: object, allowed: Iterable[object]) -> None:
    """Refuses a `value` that is not among those `allowed`.

    Raises:
        InvalidValue: naming the field, the value and the choices.

    Example:
        >>> one_of("colour", "red", ["red", "green"])
        >>> one_of("colour", "blue", ["red", "green"])
        Traceback (most recent call last):
        recsdk.errors.InvalidValue: colour must be one of ('red', 'green'), got 'blue'.
    """
    choices = tuple(allowed)
    if not any(isinstance(value, type(choice)) and value == choice for choice in choices):
        raise InvalidValue(f"{field} must be one of {choices}, got {quoted(value)}.")
