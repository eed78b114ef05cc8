"""A training step compared with TRL's `SFTTrainer`, as one JSON line.

    PYTHONPATH=FOLDER_WITH_TRL python -m tests.benchmarks.sft     (`make bench-sft` installs TRL
    aside)

Both train the embedded base to write the label word behind a shared instruction: same 4-bit
weights, adapters, token ids, labels, optimizer, and batches of 16 by length; the loss is on the
label word alone. They take turns, so that other load on the machine disturbs both; a run includes
setting up its Trainer. SFTTrainer works without gradient checkpointing, packing and logging, as
ours does on a CPU. Seconds are of the processor (one thread) and of the clock.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time

import numpy as np
import torch
from datasets import Dataset

from helpers import run
from helpers.core.base import reset_adapters
from helpers.core.batches import Targets
from helpers.core.heads import LabelWords
from helpers.core.qlora import QLoRA
from helpers.core.training import train
from helpers.data import embedded
from helpers.env import seed_everything
from tests.benchmarks.__main__ import TASK
from tests.benchmarks.recipes import recipe

CAUSAL = {"head": "lm", "head_first": False, "bidirectional": False, "max_length": 512, "token_budget": 8192}
TRAINING = {"epochs": 1, "learning_rate": 2e-4, "weight_decay": 0.0, "lora_dropout": 0.05, "holdout": 0.0}
RECIPE = recipe("demo", class_weights=False, **CAUSAL, **TRAINING)


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
    train(LabelWords(learner.model, torch.ones(2)), rows, learner.encoding.collate, RECIPE, 0)


def main(labels: int = 64, turns: int = 3) -> None:
    learners = {ours: QLoRA(TASK, RECIPE), theirs: QLoRA(TASK, RECIPE)}
    written = [r for r in embedded.labelled_pool() if len(r["text"]) < 400][:labels]
    targets = Targets.of(TASK, written)
    seconds: dict = {ours: [], theirs: []}  # (processor, clock) of every turn
    for turn in range(turns + 1):  # the first warms up
        for train_once, learner in learners.items():
            rows = learner.encoding.examples([r["text"] for r in written], targets)
            seed_everything(0)
            reset_adapters(learner.model)
            clock, processor = time.perf_counter(), time.process_time()
            train_once(learner, rows)
            if turn:
                seconds[train_once].append((time.process_time() - processor, time.perf_counter() - clock))
    steps = -(-labels // RECIPE.batch_size)
    processor = {way: statistics.median(t[0] for t in seconds[way]) / steps for way in seconds}
    wall = {way: statistics.median(t[1] for t in seconds[way]) / steps for way in seconds}
    ratios = [b[0] / a[0] for a, b in zip(seconds[ours], seconds[theirs], strict=True)]
    figures = {
        "rows": labels,
        "tokens_a_row": round(float(np.mean([len(r["input_ids"]) for r in rows])), 1),
        "step_processor_seconds": round(processor[ours], 3),
        "sft_step_processor_seconds": round(processor[theirs], 3),
        "step_wall_seconds": round(wall[ours], 3),
        "sft_step_wall_seconds": round(wall[theirs], 3),
        "times_sft": round(statistics.median(ratios), 2),
        "trl": run.version("trl"),
    }
    print(json.dumps({"figure": "sft", **figures, "threads": torch.get_num_threads()}), flush=True)


if __name__ == "__main__":
    main()
