"""Training by the transformers `Trainer` of any module that returns a loss, with early stopping."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from helpers import env
from helpers.core.batches import ByLength
from helpers.core.cpu import folded
from helpers.core.recipe import Recipe
from helpers.env import UserError
from helpers.progress import Bar
from helpers.text import say


def train(
    module: nn.Module,
    rows: list[dict],
    collate: Callable,
    recipe: Recipe,
    seed: int,
    held_out_loss: Callable[[], float] | None = None,
) -> dict[str, Any]:
    """Train `module` and leave it with the weights of the lowest held-out loss.

    Parameters
    ----------
    module : module whose output has a `loss`
    rows : list of dicts
        What `collate` makes batches of; each has a `length`, by which batches are grouped.
    collate : function from rows to the arguments of `module`
    recipe : Recipe
    seed : int
    held_out_loss : function, optional
        Called after every epoch; with a patience of 0 after the last epoch only; with `head_first`
        also before the first. Without it the last weights are kept.

    Returns
    -------
    dict
        `epochs` run and the lowest `held_out_loss`, None without one.

    Where the GPU's memory is too small for a batch, training begins anew with half of the batch and twice the
    accumulation, which is the same training but for the rounding of odd batches, and says so.

    Raises
    ------
    UserError
        When ten gradients in a row are not finite, or a single row does not fit the memory.
    """
    before = {n: p.detach().clone() for n, p in module.named_parameters() if p.requires_grad}
    while True:
        try:
            return _train(module, rows, collate, recipe, seed, held_out_loss)
        except torch.OutOfMemoryError as error:
            if recipe.batch_size == 1:
                remedy = "lower max_length, or choose a smaller model"
                raise UserError(
                    f"The memory does not hold the training on a single row of {_longest(rows)} tokens: {remedy}."
                ) from error
            smaller = {"batch_size": recipe.batch_size // 2, "accumulation": 2 * recipe.accumulation}
        # Outside the handler, whose traceback would keep the batch in memory.
        recipe = replace(recipe, **smaller)
        module.load_state_dict(before, strict=False)
        module.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        words = f"batch_size {recipe.batch_size} and accumulation {recipe.accumulation}"
        say(f"The memory is too small for the batch: training begins anew with {words}.")


def _longest(rows: list[dict]) -> int:
    return max(row["length"] for row in rows)


def _train(
    module: nn.Module,
    rows: list[dict],
    collate: Callable,
    recipe: Recipe,
    seed: int,
    held_out_loss: Callable[[], float] | None,
) -> dict[str, Any]:
    """`train` with the batch of the recipe."""
    from transformers import PrinterCallback, Trainer

    class ByLengthTrainer(Trainer):
        def _get_train_sampler(self, *_):
            return ByLength([r["length"] for r in rows], recipe.batch_size)

        def training_step(self, *args, **kwargs):
            loss = super().training_step(*args, **kwargs)
            bar.loss = loss.detach()
            return loss

    bar = Bar(0, "training", "step")
    watch = _watch(module, recipe, held_out_loss, bar)
    module.train()
    with tempfile.TemporaryDirectory() as folder:
        arguments = _arguments(recipe, seed, folder)
        trainer = ByLengthTrainer(module, arguments, data_collator=collate, train_dataset=rows, callbacks=[watch])
        trainer.remove_callback(PrinterCallback)
        with folded(module, keep=False), bar:
            trainer.train()
    module.eval()
    return watch.report()


def _arguments(recipe: Recipe, seed: int, folder: str):
    """The recipe in the Trainer's terms; nothing is saved or logged."""
    from transformers import TrainingArguments

    dtype = env.compute_dtype()
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
    # With two GPUs (Kaggle) the Trainer would copy the module, whose base is on the first, and
    # double the batch.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def _watch(module: nn.Module, recipe: Recipe, held_out_loss: Callable[[], float] | None, bar: Bar):
    """Trainer callback: moves the bar, keeps the weights of the lowest held-out loss, stops on lost gradients."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        def __init__(self):
            self.lowest, self.weights = float("inf"), None
            self.epochs = self.worse_epochs = self.bad_gradients = 0

        def on_train_begin(self, args, state, control, **_):
            bar.total = state.max_steps
            if recipe.head_first:
                self.compare(control)

        def on_step_end(self, args, state, control, **_):
            bar.update()

        def on_epoch_end(self, args, state, control, **_):
            self.epochs += 1
            if recipe.patience or self.epochs == recipe.epochs:
                self.compare(control)

        def compare(self, control):
            if held_out_loss is None:
                return
            loss = held_out_loss()
            module.train()
            if loss < self.lowest:
                self.lowest, self.worse_epochs = loss, 0
                self.weights = {n: p.detach().clone() for n, p in module.named_parameters() if p.requires_grad}
            else:
                self.worse_epochs += 1
                control.should_training_stop = self.worse_epochs >= recipe.patience

        def on_pre_optimizer_step(self, args, state, control, **_):
            # The sum of the absolute values: squares of finite gradients could overflow.
            norm = nn.utils.get_total_norm((p.grad for p in module.parameters() if p.grad is not None), norm_type=1)
            self.bad_gradients = 0 if torch.isfinite(norm) else self.bad_gradients + 1
            if self.bad_gradients >= 10:  # a gradient scaler skips a few steps by design
                dtype = "float16" if args.fp16 else "float32"
                raise UserError(
                    f"Ten gradients in a row are not finite under {dtype}: lower learning_rate, or choose a model that "
                    "is safe in half precision."
                )

        def on_train_end(self, args, state, control, **_):
            if self.weights is not None:
                module.load_state_dict(self.weights, strict=False)

        def report(self) -> dict[str, Any]:
            return {"epochs": self.epochs, "held_out_loss": None if self.weights is None else self.lowest}

    return Watch()
