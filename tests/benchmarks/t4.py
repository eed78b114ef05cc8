"""Whether the T4 profile fits a T4: any GPU with float16, 14.4 GiB and no flash attention.

python -m tests.benchmarks.t4 [1.5] [8]

The models have the sizes of Qwen2.5-1.5B and Llama-3.1-8B and random weights, so this shows what
fits and that numbers stay finite, not what is learned; seconds are of the GPU it runs on.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from helpers.core.base import model_path
from helpers.core.qlora import QLoRA
from helpers.core.recipe import EMBEDDED
from helpers.data import embedded
from tests.benchmarks.__main__ import TASK
from tests.benchmarks.recipes import recipe

SIZES = {
    "1.5": {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12}
    | {"num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True},
    "8": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32}
    | {"num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": False},
}


def imitate_t4() -> None:
    """Make this process see a T4: its number type, its memory, its kernels of attention."""
    torch.cuda.get_device_capability = lambda *_, **__: (7, 5)
    torch.cuda.set_per_process_memory_fraction(14.4 * 2**30 / torch.cuda.get_device_properties(0).total_memory)
    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.enable_cudnn_sdp(False)


def random_model(folder: Path, sizes: dict) -> None:
    """Save a random Llama of these sizes, a shard per layer, with the tokenizer of the embedded base."""
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    config = AutoConfig.for_model("llama", **sizes, max_position_embeddings=8192, pad_token_id=0, dtype="float16")
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    shards: dict[str, dict] = {}
    for name, weight in model.state_dict().items():
        if name != "lm_head.weight" or not config.tie_word_embeddings:
            shards.setdefault(".".join(name.split(".")[:3]), {})[name] = weight.shape
    index = {}
    for n, shapes in enumerate(shards.values()):
        weights = {k: torch.ones(s) if "norm" in k else torch.randn(s) * 0.02 for k, s in shapes.items()}
        save_file({k: w.half() for k, w in weights.items()}, folder / f"{n}.safetensors", metadata={"format": "pt"})
        index |= dict.fromkeys(shapes, f"{n}.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)
    AutoTokenizer.from_pretrained(model_path(EMBEDDED)).save_pretrained(folder)


def measure(billions: str, folder: Path, labels: int = 48, scored: int = 200) -> None:
    # Label words have no head to start from, and the figures were taken without weight decay.
    settings = recipe("t4", model=str(folder), head_first=False, weight_decay=0.0)
    rows = embedded.labelled_pool()
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    long = [rows[3 * k] | {"text": " ".join(r["text"] for r in rows[3 * k : 3 * k + 3])} for k in range(labels)]
    figures, learner = {}, None

    def load():
        nonlocal learner
        learner = QLoRA(TASK, settings)

    parts = {
        "load": load,
        "fit": lambda: learner.fit(long),
        "score": lambda: np.concatenate(learner.score([r["text"] for r in rows[:scored]]), 1),
        "generate": lambda: learner.generate([r["text"] for r in rows[:8]], 16),
    }
    for name, part in parts.items():
        torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        result = part()
        peak = torch.cuda.max_memory_allocated() / 2**30
        figures[name] = {"seconds": round(time.perf_counter() - start, 1), "peak_gib": round(peak, 2)}
        if name == "score":
            figures["finite"] = bool(np.isfinite(result).all())
    facts = {
        "figure": "t4",
        "billions": billions,
        "labels": labels,
        "scored": scored,
        "gpu": torch.cuda.get_device_name(),
    }
    print(json.dumps(facts | figures), flush=True)


if __name__ == "__main__":
    if not torch.cuda.is_available():
        sys.exit("This measurement needs a GPU; none is visible here.")
    imitate_t4()
    for billions in sys.argv[1:] or SIZES:
        with tempfile.TemporaryDirectory() as home:
            random_model(Path(home), SIZES[billions])
            measure(billions, Path(home))
