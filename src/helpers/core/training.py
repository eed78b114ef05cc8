"""One training run of the transformers `Trainer` over any module that returns a loss: schedule, early stopping, guards."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.data import Sampler

from helpers import env
from helpers.core.cpu import folded
from helpers.core.recipe import Recipe
from helpers.env import UserError


def train(
    module: nn.Module,
    rows: list[dict],
    collate: Callable,
    recipe: Recipe,
    seed: int,
    held_loss: Callable[[], float] | None = None,
) -> dict[str, Any]:
    """Train what `module` leaves trainable; returns the epochs run and the best held-out loss.

    `rows` have a `length`, by which batches are grouped; `held_loss` is asked after every epoch, without `recipe.patience` after
    the last alone, with `recipe.head_first` also before the first, and the weights that did best are kept. Raises UserError when
    gradients stay infinite.
    """
    from transformers import PrinterCallback, Trainer, TrainingArguments

    class ByLengthTrainer(Trainer):
        def _get_train_sampler(self, *_):
            return ByLength([r["length"] for r in rows], recipe.batch_size)

    dtype = env.compute_dtype()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=recipe.epochs,
            per_device_train_batch_size=recipe.batch_size,
            gradient_accumulation_steps=recipe.accumulation,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            warmup_steps=recipe.warmup,
            lr_scheduler_type="cosine",
            max_grad_norm=1.0,
            optim="paged_adamw_8bit" if env.device() == "cuda" else "adamw_torch_fused",
            fp16=dtype == torch.float16,
            bf16=dtype == torch.bfloat16,
            use_cpu=env.device() == "cpu",
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            seed=seed,
        )
        # Of two GPUs (Kaggle) the base is on the first; the Trainer would copy the module to both, and double the batch.
        arguments._n_gpu = min(arguments.n_gpu, 1)
        watch = _watch(module, recipe, held_loss)
        module.train()
        trainer = ByLengthTrainer(module, arguments, data_collator=collate, train_dataset=rows, callbacks=[watch])
        trainer.remove_callback(PrinterCallback)
        with folded(module, keep=False):
            trainer.train()
    module.eval()
    return watch.report()


class ByLength(Sampler):
    """Batches of like length out of each random half of the rows, in random order.

    The Trainer's own groups are smaller, so few rows pad a third more, and run from the longest text to the shortest.
    """

    def __init__(self, lengths: list[int], size: int):
        self.lengths, self.size = lengths, size

    def __len__(self):
        return len(self.lengths)

    def __iter__(self):
        order, size = torch.randperm(len(self)).tolist(), self.size
        half = size * max(1, len(self) // (2 * size))
        parts = [sorted(order[k : k + half], key=self.lengths.__getitem__) for k in range(0, len(self), half)]
        batches = [part[k : k + size] for part in parts for k in range(0, len(part), size)]
        # A short batch may only come last: the loader cuts the whole list every `size` rows.
        whole = [b for b in batches if len(b) == size]
        rest = [i for b in batches if len(b) < size for i in b]
        return iter([i for k in torch.randperm(len(whole)).tolist() for i in whole[k]] + rest)


def _watch(module: nn.Module, recipe: Recipe, held_loss: Callable[[], float] | None):
    """Trainer callback: keeps the weights that did best on held-out rows, and stops on lost or NaN gradients."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        def __init__(self):
            self.best, self.weights, self.waited, self.epochs, self.bad = float("inf"), None, 0, 0, 0

        def on_train_begin(self, args, state, control, **_):
            if recipe.head_first:
                self.compare(control)

        def on_epoch_end(self, args, state, control, **_):
            self.epochs += 1
            if recipe.patience or self.epochs == recipe.epochs:
                self.compare(control)

        def compare(self, control):
            if held_loss is None:
                return
            loss = held_loss()
            module.train()
            if loss < self.best:
                self.best, self.waited = loss, 0
                self.weights = {n: p.detach().clone() for n, p in module.named_parameters() if p.requires_grad}
            else:
                self.waited += 1
                control.should_training_stop = self.waited >= recipe.patience

        def on_pre_optimizer_step(self, args, state, control, **_):
            # The sum of the absolute values: squares of finite gradients could overflow.
            norm = nn.utils.get_total_norm((p.grad for p in module.parameters() if p.grad is not None), norm_type=1)
            self.bad = 0 if torch.isfinite(norm) else self.bad + 1
            if self.bad >= 10:  # a gradient scaler skips a few steps by design
                raise UserError(
                    f"Ten gradients in a row are not finite under {(args.fp16 and 'float16') or 'float32'}: lower "
                    f"learning_rate, or choose a model that is safe in half precision."
                )

        def on_train_end(self, args, state, control, **_):
            if self.weights is not None:
                module.load_state_dict(self.weights, strict=False)

        def report(self) -> dict[str, Any]:
            return {"epochs": self.epochs, "held_out_loss": None if self.weights is None else self.best}

    return Watch()
