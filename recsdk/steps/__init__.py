"""Steps that prepare rows: fitted on what is trained on, applied to the rest and to new requests in the same way, saved as JSON."""

from recsdk.steps.base import Changes, Learned, Selects, Step
from recsdk.steps.pipeline import Applied, Done, Fitted, Report, apply, apply_to_request, apply_to_table, fit, load, save
from recsdk.steps.selecting import DropDuplicates, DropMissing, KCore
from recsdk.steps.values import Clip, Cyclic, FillMissing, Rare, Scale

__all__ = [
    "Applied",
    "Changes",
    "Clip",
    "Cyclic",
    "Done",
    "DropDuplicates",
    "DropMissing",
    "FillMissing",
    "Fitted",
    "KCore",
    "Learned",
    "Rare",
    "Report",
    "Scale",
    "Selects",
    "Step",
    "apply",
    "apply_to_request",
    "apply_to_table",
    "fit",
    "load",
    "save",
]
