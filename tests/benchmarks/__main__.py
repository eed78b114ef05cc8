"""Speed and size, one JSON line per figure: `make bench`.

Ratios are taken within a run, because machines differ and are noisy.

python -m tests.benchmarks [scoring] [training] [decoding] [neighbours] [explaining] [demo]
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch

from helpers.core import cpu
from helpers.core.batches import pad, token_batches
from helpers.core.detector import Detector
from helpers.core.qlora import QLoRA
from helpers.core.recipe import EMBEDDED, Recipe
from helpers.core.writer import Writer
from helpers.data import embedded
from helpers.italian.addressees import WORKPLACE
from helpers.query import strategies
from helpers.task import Task
from tests.benchmarks.recipes import ROOT, recipe

INSTRUCTION = (
    "Compito: leggere il testo di un annuncio di lavoro e dire se il linguaggio è inclusivo oppure no. Un testo non è "
    "inclusivo se un nome, un articolo, un aggettivo o un participio al solo maschile o al solo femminile sta per tutte le "
    "persone, oppure se chiede un sesso, un'età, un aspetto, uno stato di famiglia o una provenienza. Una formula di legge "
    "non basta a rimediare. Rispondere con una sola parola.\nAnnuncio: {text}\nLinguaggio:"
)
TASK = Task(
    "italian_jobs", ("inclusive", "not_inclusive"), "not_inclusive", (" inclusivo", " discriminatorio"), INSTRUCTION
)


def report(name: str, **figures) -> None:
    print(json.dumps({"figure": name, **figures, "threads": torch.get_num_threads()}), flush=True)


def once(function) -> float:
    """Wall seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def decoding(n: int = 24) -> None:
    """Greedy writing in length-sorted batches compared with one text at a time, tokens per second."""
    settings = recipe("demo_generation", "03_active_generation", bidirectional=False, max_new_tokens=32)
    learner = Writer(Task("decoding", (), "", (), "Annuncio: {text}\nRisposta:"), settings)
    texts = [r["text"] for r in embedded.pool_texts() if len(r["text"]) < 400][:n]
    outputs = learner.write(texts)
    alone = [learner.write([text])[0] for text in texts]
    tokens = sum(len(learner.tokenizer(o)["input_ids"]) for o in outputs)
    together, apart = [], []
    for _ in range(3):  # in turn, so that a noisy neighbour disturbs both alike
        together.append(once(lambda: learner.write(texts)))
        apart.append(once(lambda: [learner.write([text]) for text in texts]))
    report(
        "decoding",
        texts=n,
        same_outputs=sum(a == b for a, b in zip(outputs, alone, strict=True)),
        tokens_per_second=round(tokens / statistics.median(together)),
        one_at_a_time_tokens_per_second=round(tokens / statistics.median(apart)),
        times_one_at_a_time=round(statistics.median(b / a for a, b in zip(together, apart, strict=True)), 2),
    )


def scoring(n: int = 256, batch: int = 32) -> None:
    """Label-word scoring compared with `transformers.pipeline` and with a bare forward pass."""
    from transformers import pipeline

    settings = Recipe.for_reading(EMBEDDED, head="lm", max_length=512, token_budget=batch * 320)
    learner = QLoRA(TASK, settings)
    learner.model.eval()
    texts = [r["text"] for r in embedded.pool_texts() if len(r["text"]) < 400][:n]
    prompts = [TASK.prompt.replace("{text}", t) for t in texts]
    plain = learner.model.get_base_model()
    writer = pipeline("text-generation", model=plain, tokenizer=learner.tokenizer)
    options = {"batch_size": batch, "max_new_tokens": 1, "do_sample": False, "return_full_text": False}
    ids = learner.encoding.texts(texts)
    shared = len(learner.encoding.prefix())

    @torch.inference_mode()
    def bare():
        for part in token_batches([len(i) for i in ids], learner.recipe.token_budget, shared):
            plain(input_ids=pad([ids[i] for i in part], 0), use_cache=False, logits_to_keep=1)

    # In turn, so that a noisy neighbour disturbs all three alike; the ratios are medians over the rounds.
    functions = (lambda: learner.logits(texts), bare, lambda: writer(prompts, **options))
    # Each is timed on its second call in a row: the first after another's pays for that one's memory.
    times = [[(f(), once(f))[1] for f in functions] for _ in range(7)]
    ours, forward, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    report(
        "scoring",
        texts=n,
        shared_tokens=shared,
        unshared_tokens_mean=round(sum(map(len, ids)) / n, 1),
        ms_per_text=round(1000 * ours / n, 2),
        pipeline_ms_per_text=round(1000 * theirs / n, 2),
        bare_forward_ms_per_text=round(1000 * forward / n, 2),
        times_pipeline=round(statistics.median(t / o for o, _, t in times), 2),
        share_of_bare_forward=round(statistics.median(f / o for o, f, _ in times), 2),
    )


def training(n: int = 500, batch: int = 150, pool: int = 1200) -> None:
    """A round of the demo: fit on n labels, score `pool` texts, select by BAIT; then a warm start."""
    import numpy as np

    learner = QLoRA(TASK, recipe("demo", patience=0))
    rows = embedded.labelled_pool()
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    labelled, unlabelled = rows[:n], rows[n : n + pool]

    def score():
        learner.scored = learner.score([r["text"] for r in unlabelled])

    def choose():
        probabilities, embeddings = learner.scored
        answers, known = learner.score([r["text"] for r in labelled])
        inputs = {"probabilities": probabilities, "embeddings": embeddings}
        inputs |= {"labelled": known, "labelled_probabilities": answers}
        strategies.select("bait", len(unlabelled), batch, 0, **inputs)

    parts = {
        "first": lambda: learner.fit(labelled[:-batch]),
        "fit": lambda: learner.fit(labelled),
        "score": score,
        "choose": choose,
        "warm": lambda: learner.fit(labelled, 1, warm=True),
    }
    wall, processor = {}, {}
    for name, part in parts.items():
        before = time.process_time()
        wall[name] = round(once(part), 1)
        processor[name] = round(time.process_time() - before, 1)
    report(
        "training",
        labels=n,
        labels_before=n - batch,
        scored=pool,
        epochs=learner.recipe.epochs,
        round_seconds=round(wall["fit"] + wall["score"] + wall["choose"], 1),
        seconds=wall,
        processor_seconds=processor,
    )


def _spin() -> None:
    while True:
        sum(range(10_000))


def neighbours(n: int = 200, texts: int = 500) -> None:
    """Training and reading of the demo beside none, one and two busy processes, as it is and with every core."""
    learner = QLoRA(TASK, recipe("demo", patience=0))
    rows, pool = embedded.labelled_pool()[:n], [r["text"] for r in embedded.pool_texts()[:texts]]
    light = cpu.LIGHT
    for busy in range(3):
        others = [multiprocessing.get_context("spawn").Process(target=_spin, daemon=True) for _ in range(busy)]
        for other in others:
            other.start()
        time.sleep(2)
        seconds = {}
        for name, limit in (("", light), ("_every_core", 0)):
            cpu.LIGHT = limit
            seconds[f"fit{name}"] = round(once(lambda: learner.fit(rows)), 1)
            seconds[f"read{name}"] = round(once(lambda: learner.predict_proba(pool)), 1)
        cpu.LIGHT = light
        for other in others:
            other.kill()
        report("neighbours", busy_processes=busy, labels=n, texts=texts, seconds=seconds)


def explaining(n: int = 100, labels: int = 200) -> None:
    """The words that moved the answers to n test rows, by every method, compared with answering the rows once."""
    learner = QLoRA(TASK, recipe("demo", patience=0))
    learner.fit([embedded.in_scope(row, WORKPLACE) for row in embedded.labelled_pool()[:labels]])
    detector = Detector(learner)
    texts = [row["text"] for row in embedded.gold() if row["split"] == "test" and row["spans"]][:n]
    answering = once(lambda: learner.predict_proba(texts))
    asked = [TASK.positive] * n
    seconds = {name: once(partial(detector.explain, texts, asked, name)) for name in detector.methods}
    report(
        "explaining",
        texts=n,
        answering_seconds=round(answering, 1),
        seconds={name: round(value, 1) for name, value in seconds.items()},
        times_answering={name: round(value / answering, 1) for name, value in seconds.items()},
    )


def demo() -> None:
    """`make demo` after installation: wall seconds and the peak memory of its largest process."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("notebooks", "params"):
            (Path(folder) / name).symlink_to(ROOT / name)
        command = "-m helpers.cli run --task italian_jobs --profile demo --run-id demo"
        environment = {**os.environ, "AMBO_ROOT": folder}
        start = time.perf_counter()
        subprocess.run([sys.executable, *command.split()], check=True, env=environment, stdout=subprocess.DEVNULL)
        took = time.perf_counter() - start
        manifests = [json.loads(f.read_text()) for f in Path(folder).glob("outputs/*/*/*/manifest.json")]
        peak = max(m["peak_memory_gib"]["ram"] for m in manifests)
        stages = {m["stage"]: m["seconds"] for m in manifests}
        report("demo", seconds=round(took, 1), peak_gib=peak, stages=stages)


BENCHMARKS = {f.__name__: f for f in (scoring, training, decoding, neighbours, explaining, demo)}

if __name__ == "__main__":
    for name in sys.argv[1:] or BENCHMARKS:
        BENCHMARKS[name]()
