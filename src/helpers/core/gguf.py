"""A model in a .gguf file, as llama.cpp and packages of an index bring it: converted once into a folder of safetensors."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path

from helpers import env
from helpers.env import UserError
from helpers.files import digest, replacing, sha256
from helpers.text import say

PART = re.compile(r"\.gguf\.part(\d+)$")
REMEDY = "fetch it again, or give another model"


def is_gguf(model: str) -> bool:
    """Whether a model is a .gguf file or an installed package with one."""
    return model.startswith(env.PACKAGE) or model.lower().endswith(".gguf")


def gguf_parts(model: str) -> list[Path]:
    """The file of a model, or the parts to be joined to it, in order; no code of a package runs.

    A large file is spread over packages: the parts of `package:NAME` lie in NAME and in every NAME_part….

    Raises
    ------
    UserError
        Where there is no such file or package, no .gguf in it, several, or a part is missing.
    """
    if not model.startswith(env.PACKAGE):
        if not env.resolve(model).is_file():
            raise UserError(f"model {model!r} is a file that does not exist ({env.resolve(model)}): check the path.")
        return [env.resolve(model)]
    name = model.removeprefix(env.PACKAGE)
    files = env.package_files(name)
    if not files:
        raise UserError(
            f"model {model!r}: no package {name} is installed here; install it with pip, or check the name."
        )
    whole = [path for path in files if path.suffix.lower() == ".gguf"]
    parts = {int(found[1]): path for path in files if (found := PART.search(path.name))}
    if len(whole) > 1:
        names = ", ".join(path.name for path in whole[:3])
        raise UserError(f"model {model!r} has {len(whole)} .gguf files ({names}): give the path of one of them.")
    if not whole and not parts:
        raise UserError(f"model {model!r}: there is no .gguf file in that package; give one that has one.")
    if not whole and sorted(parts) != list(range(len(parts))):
        missing = min(set(range(len(parts))) - set(parts))
        raise UserError(f"model {model!r} lacks part {missing:02d} of its file: install the package that has it.")
    return whole or [parts[number] for number in sorted(parts)]


def converted(model: str) -> Path:
    """The folder with a .gguf model as safetensors, in `outputs/.cache/models`, made at the first call.

    The quantised weights become bfloat16: the model needs the memory of its unquantised size while it is converted.

    Parameters
    ----------
    model : str
        Path of a .gguf file, or `package:NAME`.

    Raises
    ------
    UserError
        Where the file is damaged, cut short, of an architecture that transformers does not know, or `gguf` is missing.
    """
    parts = gguf_parts(model)
    folder = env.root() / "outputs/.cache/models" / digest([sha256(part) for part in parts])[:16]
    if folder.is_dir():
        return folder
    if not importlib.util.find_spec("gguf"):
        raise UserError(f'model {model!r} is a .gguf file: reading it needs `pip install "ambo-notebooks[gguf]"`.')
    say(f"Converting  {model} into safetensors, once (a minute or two)")
    with replacing(folder) as temporary:
        temporary.mkdir()
        whole = temporary / "model.gguf"
        with whole.open("wb") as stream:
            for part in parts:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, stream)
        _check_header(whole, model)
        _save_as_safetensors(whole, model)
        whole.unlink()
    return folder


def _check_header(path: Path, model: str) -> None:
    """Raise UserError unless the file is whole and its header says no more than its tensors do."""
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
        layers = [int(field.contents()) for name, field in reader.fields.items() if name.endswith(".block_count")]
    except Exception as error:  # a stranger's bytes fail in many ways
        raise UserError(f"model {model!r} is no .gguf file, damaged or cut short: {REMEDY}.") from error
    if not layers or max(layers) > len(reader.tensors):  # every layer is an object in memory before a weight is read
        raise UserError(
            f"model {model!r} says it has {max(layers, default=0)} layers, which its file has not: {REMEDY}."
        )


def _save_as_safetensors(path: Path, model: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(**source)
        loaded, report = AutoModelForCausalLM.from_pretrained(
            **source,
            output_loading_info=True,
            dtype=torch.bfloat16,
            # without it the weights may stay packed, which cannot be saved
            quantization_config=GgufConfig(gguf_file=path.name, dequantize=True),
        )
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise UserError(f"model {model!r} could not be converted ({reason}): give another one.") from error
    if missing := sorted(report["missing_keys"]):
        raise UserError(
            f"model {model!r} lacks {len(missing)} of its weights (first: {missing[0]}), which would be drawn at random: {REMEDY}."
        )
    loaded.save_pretrained(path.parent)
    tokenizer.save_pretrained(path.parent)
