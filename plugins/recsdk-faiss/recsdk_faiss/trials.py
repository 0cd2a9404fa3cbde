"""How `python -m recsdk.testing recsdk-faiss` tries it."""

from __future__ import annotations

from recsdk.testing import Trial

TRIALS = {"faiss": Trial(hyperparameters={"index": "IVF16,Flat", "exact_below": 1})}
