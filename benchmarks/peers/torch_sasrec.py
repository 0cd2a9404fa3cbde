"""SASRec in plain PyTorch, as `recsdk.encoders.sasrec` trains it: all places at once, a full softmax, AdamW, and a validation.

    python torch_sasrec.py DATA.npz SETTINGS.json

in an interpreter that has PyTorch and NumPy. For each line on stdin it trains for an epoch, validates, and prints the seconds, the loss and
the metric as JSON. What stands behind a history is not scored, which spares it work.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Attention, then a gated dense layer, each after a norm."""

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        hidden = int(dim * 8 / 3)
        self.num_heads, self.dropout = num_heads, dropout
        self.attention_norm, self.dense_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.inward, self.outward = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.up, self.down = nn.Linear(dim, 2 * hidden, bias=False), nn.Linear(hidden, dim, bias=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Returns f32[B, T, D]."""
        size, length, dim = hidden.shape
        heads = self.inward(self.attention_norm(hidden)).view(size, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*heads.unbind(0), is_causal=True).transpose(1, 2).reshape(size, length, dim)
        hidden = hidden + functional.dropout(self.outward(mixed), self.dropout, self.training)
        gate, raised = self.up(self.dense_norm(hidden)).chunk(2, dim=-1)
        return hidden + functional.dropout(self.down(functional.silu(gate) * raised), self.dropout, self.training)


class SASRec(nn.Module):
    """The network; the scores are products with the same table that is looked up."""

    def __init__(self, num_rows: int, settings: dict[str, float]) -> None:
        super().__init__()
        dim = int(settings["dim"])
        self.dropout = settings["dropout"]
        self.table, self.position = nn.Embedding(num_rows, dim), nn.Embedding(int(settings["max_length"]), dim)
        self.blocks = nn.ModuleList(Block(dim, int(settings["num_heads"]), settings["dropout"]) for _ in range(int(settings["num_layers"])))
        self.last_norm = nn.LayerNorm(dim)
        for weight in (self.table.weight, self.position.weight):
            nn.init.normal_(weight, std=0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Returns f32[B, T, D]."""
        hidden = self.table(tokens) + self.position.weight[: tokens.shape[1]]
        hidden = functional.dropout(hidden, self.dropout, self.training)
        for block in self.blocks:
            hidden = block(hidden)
        return self.last_norm(hidden)


def epoch(model: SASRec, optimiser: torch.optim.Optimizer, rows: torch.Tensor, settings: dict[str, float]) -> float:
    """Trains once on all rows; returns the mean loss."""
    model.train()
    losses = []
    for batch in torch.randperm(len(rows)).split(int(settings["batch_size"])):
        tokens, targets = rows[batch, :-1], rows[batch, 1:]
        there = targets != 0
        loss = functional.cross_entropy(model(tokens)[there] @ model.table.weight.T, targets[there])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), settings["clip_norm"])
        optimiser.step()
        losses.append(float(loss.detach()))
    return float(np.mean(losses))


@torch.no_grad()
def metric(model: SASRec, data: dict[str, torch.Tensor]) -> float:
    """Returns the mean NDCG@10 of a full ranking without what a user has taken."""
    model.eval()
    users = model(data["tokens"])[torch.arange(len(data["last"])), data["last"]]
    scores = users @ model.table.weight.T
    own = scores.gather(1, data["target"][:, None])
    scores[data["seen"]] = -torch.inf
    scores[:, 0] = -torch.inf
    rank = (scores > own).sum(dim=1)
    return float(torch.where(rank < 10, 1 / torch.log2(2.0 + rank), 0.0).mean())


def main() -> None:
    """Trains on demand."""
    with np.load(sys.argv[1]) as arrays:
        data = {name: torch.from_numpy(array if array.dtype == bool else array.astype(np.int64)) for name, array in arrays.items()}
    with open(sys.argv[2]) as file:
        settings = json.load(file)
    torch.manual_seed(0)
    torch.set_num_threads(int(settings["threads"]))
    model = SASRec(data["seen"].shape[1], settings)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=settings["learning_rate"], betas=(0.9, 0.98), weight_decay=settings["weight_decay"]
    )
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads()}), flush=True)
    for _ in sys.stdin:
        begun, cpu = time.perf_counter(), time.process_time()
        loss = epoch(model, optimiser, data["rows"], settings)
        found = metric(model, data)
        spent = {"seconds": time.perf_counter() - begun, "cpu": time.process_time() - cpu}
        print(json.dumps({**spent, "loss": loss, "metric": found}), flush=True)


if __name__ == "__main__":
    main()
