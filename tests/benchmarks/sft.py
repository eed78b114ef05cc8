"""A training step against TRL's `SFTTrainer`: same 4-bit base, adapters, token ids, labels, batches and optimizer; one JSON line.

    PYTHONPATH=FOLDER_WITH_TRL python -m tests.benchmarks.sft     (`make bench-sft` installs TRL aside)

Both train the embedded base to write the label word behind a shared instruction, the loss on that word alone, batches of 16 by
length. They take turns, so that what else the machine does weighs on both; a run includes setting up its Trainer. SFTTrainer
works without gradient checkpointing, packing and logging, as ours does on a CPU. Seconds are of the processor (one thread) and
of the clock.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from dataclasses import replace

import numpy as np
import torch
from datasets import Dataset

from helpers import run
from helpers.core.base import reset_adapters
from helpers.core.qlora import QLoRA
from helpers.core.recipe import Recipe
from helpers.core.training import train
from helpers.data import embedded
from helpers.env import seed_everything
from tests.benchmarks.__main__ import TASK

RECIPE = Recipe(head="lm", max_length=512, epochs=1, holdout=0.0, class_weights=False)


def theirs(learner: QLoRA, rows: list[dict]) -> None:
    from trl import SFTConfig, SFTTrainer

    columns = {
        "input_ids": [r["input_ids"] for r in rows],
        "labels": [[-100] * (len(r["input_ids"]) - r["completion"]) + r["input_ids"][-r["completion"] :] for r in rows],
    }
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=RECIPE.batch_size,
            learning_rate=RECIPE.learning_rate,
            warmup_steps=RECIPE.warmup,
            lr_scheduler_type="cosine",
            max_grad_norm=1.0,
            optim="adamw_torch",
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            pad_to_multiple_of=8,
            max_length=None,
            train_sampling_strategy="group_by_length",
            dataset_kwargs={"skip_prepare_dataset": True},
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            seed=0,
        )
        data = Dataset.from_dict(columns)
        SFTTrainer(learner.model, arguments, train_dataset=data, processing_class=learner.tokenizer).train()


def ours(learner: QLoRA, rows: list[dict]) -> None:
    learner.module = learner._new_head(np.array([r["label"] for r in rows]))
    train(learner.module, rows, learner._collate, RECIPE, 0)


def main(labels: int = 64, turns: int = 3) -> None:
    learners = {ours: QLoRA(TASK, RECIPE), theirs: QLoRA(TASK, replace(RECIPE))}
    written = [r for r in embedded.labelled_pool() if len(r["text"]) < 400][:labels]
    took: dict = {ours: [], theirs: []}
    for turn in range(turns + 1):  # the first warms up
        for way, learner in learners.items():
            rows = [learner._example(r["text"], TASK.index([r["label"]])[0]) for r in written]
            seed_everything(0)
            reset_adapters(learner.model)
            clock, processor = time.perf_counter(), time.process_time()
            way(learner, rows)
            if turn:
                took[way].append((time.process_time() - processor, time.perf_counter() - clock))
    steps = -(-labels // RECIPE.batch_size)
    processor = {way: statistics.median(t[0] for t in took[way]) / steps for way in took}
    wall = {way: statistics.median(t[1] for t in took[way]) / steps for way in took}
    figures = {
        "rows": labels,
        "tokens_a_row": round(float(np.mean([len(r["input_ids"]) for r in rows])), 1),
        "step_processor_seconds": round(processor[ours], 3),
        "sft_step_processor_seconds": round(processor[theirs], 3),
        "step_wall_seconds": round(wall[ours], 3),
        "sft_step_wall_seconds": round(wall[theirs], 3),
        "times_sft": round(statistics.median(b[0] / a[0] for a, b in zip(took[ours], took[theirs], strict=True)), 2),
        "trl": run.version("trl"),
    }
    print(json.dumps({"figure": "sft", **figures, "threads": torch.get_num_threads()}), flush=True)


if __name__ == "__main__":
    main()
