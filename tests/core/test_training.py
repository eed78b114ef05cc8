"""Training by the real Trainer where the memory is too small for a batch."""

import pytest
import torch
from torch import nn

from helpers.core.training import train
from helpers.env import UserError
from tests.core.recipes import recipe

ROWS = [{"x": [float(i % 5), 1.0], "y": float(i % 3), "length": 2} for i in range(40)]


class Line(nn.Module):
    """A linear model that runs out of memory, as a GPU does, on more than `most` rows."""

    def __init__(self, most):
        super().__init__()
        self.out, self.most, self.seen = nn.Linear(2, 1), most, []
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x, y):
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        self.seen.append(len(x))
        return {"loss": ((self.out(x).squeeze(-1) - y) ** 2).mean()}


def collate(rows):
    return {"x": torch.tensor([r["x"] for r in rows]), "y": torch.tensor([r["y"] for r in rows])}


def trained(most, **changes):
    module = Line(most)
    train(module, ROWS, collate, recipe(epochs=3, learning_rate=0.1, holdout=0.0, **changes), seed=1)
    return module


def test_a_batch_that_does_not_fit_is_halved_until_it_does(capsys):
    small = trained(5, batch_size=16)
    assert max(small.seen) == 4
    said = capsys.readouterr().out
    assert "training begins anew with batch_size 8 and accumulation 2." in said
    assert "training begins anew with batch_size 4 and accumulation 4." in said
    same = trained(99, batch_size=4, accumulation=4)  # from fresh weights: nothing of the attempts is left
    torch.testing.assert_close(small.out.weight, same.out.weight)
    assert small.out.weight.abs().max() > 0.01


def test_a_single_row_that_does_not_fit_is_a_sentence():
    with pytest.raises(UserError, match="does not hold the training on a single row of 2 tokens: lower max_length"):
        trained(0, batch_size=2)
