"""Ranks the catalogue by the models of RecTools and implicit, in an interpreter of its own, since RecTools asks for NumPy 1.

python -m venv peers && peers/bin/pip install "rectools[torch]==0.19.0" implicit==0.7.3
python benchmarks/encoders.py --data FOLDER --sets ml-100k --export SPLITS
peers/bin/python benchmarks/peers/ranking.py SPLITS/ml-100k --out ml-100k.json
python benchmarks/encoders.py --data FOLDER --sets ml-100k --peers ml-100k.json

The split is that of recsdk, and how many items stand above each target is all that comes back, so that metrics and
intervals are those of recsdk too. RecTools' models stop early by the loss on the last item of half the users; those of recsdk do by NDCG.
They train on the latest places of each user alone, as `sasrec-last` does.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

PLACES = 20
"""Places of a ranking that are asked of a model; a target that stands behind counts as not found."""
BEHIND = 10**6


def rectools(train: pd.DataFrame, tested: pd.DataFrame, epochs: int, **settings: Any) -> list[list[Any]]:
    """Returns for each user what RecTools' `SASRecModel` recommends."""
    from pytorch_lightning import Trainer, seed_everything
    from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
    from rectools.columns import Columns
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    seed_everything(0)
    table = train.rename(columns={"user": Columns.User, "item": Columns.Item, "time": Columns.Datetime}).assign(**{Columns.Weight: 1.0})
    table[Columns.Datetime] = pd.to_datetime(table[Columns.Datetime], unit="s")
    dataset = Dataset.construct(table)
    validating = set(np.random.default_rng(0).permutation(table[Columns.User].unique())[: table[Columns.User].nunique() // 2])

    def last_items(interactions: pd.DataFrame, **_: Any) -> np.ndarray:
        from_end = interactions.groupby(Columns.User)[Columns.Datetime].rank(method="first", ascending=False)
        return ((from_end == 1) & interactions[Columns.User].isin(validating)).to_numpy()

    with TemporaryDirectory() as folder:
        best = ModelCheckpoint(folder, monitor="val_loss", save_weights_only=False)

        def trainer() -> Trainer:
            stop = EarlyStopping("val_loss", patience=15)
            return Trainer(max_epochs=epochs, callbacks=[stop, best], logger=False, enable_progress_bar=False, enable_model_summary=False)

        model = SASRecModel(get_val_mask_func=last_items, get_trainer_func=trainer, deterministic=True, **settings)
        model.fit(dataset)
        model.load_weights_from_checkpoint(best.best_model_path)
        found = model.recommend(tested["user"].to_numpy(), dataset, k=PLACES, filter_viewed=True)
    lists = found.sort_values([Columns.User, Columns.Rank]).groupby(Columns.User)[Columns.Item].agg(list)
    return [lists.get(user, []) for user in tested["user"]]


def ligr(train: pd.DataFrame, tested: pd.DataFrame, epochs: int, **settings: Any) -> list[list[Any]]:
    """Returns the same with the layers of LiGR."""
    from rectools.models.nn.transformers.ligr import LiGRLayers

    return rectools(train, tested, epochs, transformer_layers_type=LiGRLayers, **settings)


def implicit(train: pd.DataFrame, tested: pd.DataFrame, model: Callable[[], Any]) -> list[list[Any]]:
    """Returns for each user what a model of implicit recommends."""
    from scipy.sparse import csr_matrix

    users, user = np.unique(train["user"], return_inverse=True)
    items, item = np.unique(train["item"], return_inverse=True)
    taken = csr_matrix((np.ones(len(train), np.float32), (user, item)))
    fitted = model()
    fitted.fit(taken, show_progress=False)
    rows = np.searchsorted(users, tested["user"])
    found, _ = fitted.recommend(rows, taken[rows], N=PLACES, filter_already_liked_items=True)
    return [[items[place] for place in places if place >= 0] for places in found]


def contestants(length: int) -> dict[str, tuple[Callable[..., list[list[Any]]], dict[str, Any]]]:
    """Returns the models with their settings; sequences have the length of recsdk's in the same table."""
    from implicit.als import AlternatingLeastSquares
    from implicit.bpr import BayesianPersonalizedRanking
    from implicit.nearest_neighbours import BM25Recommender, CosineRecommender

    sasrec = {"n_factors": 64, "n_heads": 2, "n_blocks": 2, "session_max_len": length, "dropout_rate": 0.4, "epochs": 150}
    sampled = {"loss": "sampled_softmax", "n_negatives": 256}
    return {
        "implicit cosine": (implicit, {"model": lambda: CosineRecommender(K=50)}),
        "implicit BM25": (implicit, {"model": lambda: BM25Recommender(K=50)}),
        "implicit ALS": (implicit, {"model": lambda: AlternatingLeastSquares(factors=64, random_state=0)}),
        "implicit BPR": (implicit, {"model": lambda: BayesianPersonalizedRanking(factors=64, random_state=0)}),
        "RecTools SASRec, softmax": (rectools, sasrec),
        "RecTools SASRec, sampled": (rectools, {**sasrec, **sampled}),
        "RecTools SASRec, LiGR": (ligr, sasrec),
        "RecTools SASRec, LiGR, sampled": (ligr, {**sasrec, **sampled}),
    }


def play(folder: Path, length: int, chosen: list[str] | None) -> Iterator[dict[str, Any]]:
    """Yields for each model how many items stand above each target."""
    train, tested = (pd.read_csv(folder / f"{name}.csv", dtype={"user": str, "item": str}) for name in ("train", "test"))
    for name, (rank, settings) in contestants(length).items():
        if chosen and name not in chosen:
            continue
        libraries = ("implicit", "numpy") if rank is implicit else ("rectools", "torch", "numpy")
        versions = {library: importlib.metadata.version(library) for library in libraries}
        begun = time.perf_counter()
        lists = rank(train, tested, **settings)
        above = [found.index(target) if target in found else BEHIND for found, target in zip(lists, tested["item"], strict=True)]
        shown = {key: value for key, value in settings.items() if not callable(value)}
        yield {
            "set": folder.name,
            "model": name,
            "config": shown,
            "versions": versions,
            "fit_s": time.perf_counter() - begun,
            "above": above,
        }


def main() -> None:
    """Runs the models, and writes after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with train.csv and test.csv")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--length", type=int, default=100, help="of the sequences")
    parser.add_argument("--models", nargs="+")
    arguments = parser.parse_args()
    rows = []
    for row in play(arguments.folder, arguments.length, arguments.models):
        rows.append(row)
        arguments.out.write_text(json.dumps(rows) + "\n")
        places = np.array(row["above"])
        gain = np.where(places < 10, 1 / np.log2(places + 2), 0).mean()
        print(f"{row['set']} {row['model']:32} NDCG@10 {gain:.4f}  {row['fit_s']:.1f} s", flush=True)


if __name__ == "__main__":
    main()
