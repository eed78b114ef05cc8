"""A folder with a model from elsewhere: nothing in it runs, and nothing outside it is read."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

from helpers.env import UserError
from helpers.files import MOST_JSON, digest, read_json, sha256

# keys that count modules
LAYERS = re.compile(r"(num|n)(_\w+coder)?(_\w+)?_(layers?|groups?|networks?|blocks?)|\w+coder_layers|inner_group_num")
TOKENIZER = "tokenizer.json"
MOST_LABELS = 100_000  # of a head, which is read with its model and not used
MOST_SPECIAL = 20_000  # special tokens of a tokenizer; every one is compared with all before it
MOST_GROWTH = (
    64  # characters that a tokenizer may make of one before it cuts a text into tokens, and tokens that it may add
)
READ = {".json", ".safetensors", ".txt", ".model", ".jinja"}  # what is loaded of a model: weights, tokenizer, templates
PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack"}


def refuse_no_model(folder: Path, model: str) -> None:
    """Raise UserError where a folder has no model's configuration, before "/" or a home folder is read from end to end."""
    if not (folder / "config.json").is_file():
        raise UserError(f"model {model!r} is a folder without config.json: give that of a saved model.")


def refuse_foreign_files(folder: Path) -> None:
    """Raise UserError where a model's folder is an adapter, has no safetensors, or leads out of itself.

    A link into the blobs of the hub's own cache is none that leads out.
    """
    refuse_strange_files(folder)
    if (folder / "adapter_config.json").exists():  # transformers would load the base that it names, from anywhere
        raise UserError(f"{folder} holds an adapter (adapter_config.json), not a model: name the folder of its base.")
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in PICKLES)
    if pickles and not list(folder.glob("*.safetensors")):
        raise UserError(f"{folder} has its weights in {pickles[0]}, and a pickle can run code: save it as safetensors.")
    for index in folder.glob("*.index.json"):
        names = _object(index).get("weight_map")
        for name in set(names.values()) if isinstance(names, dict) else [None]:
            if not isinstance(name, str) or not re.fullmatch(r"[\w-][\w.-]*\.safetensors", name):
                raise UserError(f"{index} names {name!r}: only weights in .safetensors beside it are loaded.")
    for key, value in _entries(_object(folder / "config.json")):
        # A kernel of the hub is code; weights under another name would be read wherever that leads.
        if key in ("attn_implementation", "_attn_implementation", "transformers_weights") and "/" in str(value):
            raise UserError(f"{folder / 'config.json'} has {key}={value!r}, which leads elsewhere: remove that line.")
        if LAYERS.fullmatch(key) and isinstance(value, int) and value > (tensors := _tensors(folder)):
            # Every layer is an object in memory before the first weight is compared.
            raise UserError(
                f"{folder / 'config.json'} has {key}={value}, more than its {tensors} tensors: it is damaged."
            )
        labels = len(value) if key in ("id2label", "label2id") and isinstance(value, dict | list) else 0
        if (value if key == "num_labels" and isinstance(value, int) else labels) > MOST_LABELS:
            # Every label gets a name, again and again while the model is read.
            raise UserError(f"{folder / 'config.json'} has more than {MOST_LABELS:,} labels ({key}): it is damaged.")
    for key, value in _entries(_object(folder / "tokenizer_config.json")):
        if "special_tokens" in key and isinstance(value, list | dict) and len(value) > MOST_SPECIAL:
            raise UserError(
                f"{folder / 'tokenizer_config.json'} has more than {MOST_SPECIAL:,} special tokens: it is damaged."
            )
        if key.endswith("_file") and isinstance(value, str) and _leads_out(folder, value):
            raise UserError(
                f"{folder / 'tokenizer_config.json'} has {key}={value!r}, a file elsewhere: remove that line."
            )
    if (folder / TOKENIZER).exists():
        refuse_growing_tokenizer(folder / TOKENIZER)


def refuse_growing_tokenizer(path: Path) -> None:
    """Raise UserError where the replacements of a tokenizer multiply: eleven of one sign by ten fill any memory.

    What one replacement adds, the next may replace again, so their factors are multiplied; likewise what is put around a text.
    """
    facts = _object(path)
    for part in ("normalizer", "decoder"):
        growth = 1.0
        for step in _steps(facts.get(part)):
            added = step.get("content", step.get("prepend")) or _longest_of_charsmap(step.get("precompiled_charsmap"))
            pattern = step.get("pattern")
            replaced = pattern.get("String") if isinstance(pattern, dict) else None
            # A regular expression may match one character, or none.
            growth *= max(1, _length(added) / max(1, _length(replaced)))
            if growth > MOST_GROWTH:
                raise UserError(
                    f"{path} has a {part} that makes more than {MOST_GROWTH} characters of one: take another model."
                )
    growth = 1
    for step in _steps(facts.get("post_processor")):
        growth *= max(1, *(_tokens_around(step, name) for name in ("single", "pair")))
        if growth > MOST_GROWTH:
            raise UserError(
                f"{path} has a post_processor that puts more than {MOST_GROWTH} tokens around a text: take another model."
            )


def _tokens_around(step: dict[str, Any], name: str) -> int:
    """The number of tokens that a template of a post-processor makes of texts of one token."""
    pieces, special = step.get(name), step.get("special_tokens")
    ids = (
        [token.get("ids") for token in special.values() if isinstance(token, dict)] if isinstance(special, dict) else []
    )
    longest = max((len(own) for own in ids if isinstance(own, list)), default=1)
    return longest * len(pieces) if isinstance(pieces, list) else 0


def _steps(value: Any) -> list[dict[str, Any]]:
    """Every step of a tokenizer's part, those of nested sequences included, in order."""
    if isinstance(value, list):
        return [step for inner in value for step in _steps(inner)]
    if not isinstance(value, dict):
        return []
    return [value, *(step for inner in value.values() if isinstance(inner, list) for step in _steps(inner))]


def _longest_of_charsmap(value: Any) -> str:
    """The longest replacement of a SentencePiece map: its size, a trie of that size, and texts that end in zeros."""
    try:
        data = base64.b64decode(value)
    except (TypeError, ValueError):
        return ""
    texts = data[4 + int.from_bytes(data[:4], "little") :].decode("utf-8", "replace")
    return max(texts.split("\0"), key=len)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str) else 0


def refuse_strange_files(folder: Path) -> None:
    """Raise UserError at the first file that is none, lies elsewhere, or is far larger than any of its kind."""
    home = folder.resolve()
    homes = [home, home.parents[1] / "blobs"] if home.parent.name == "snapshots" else [home]
    for path in sorted(folder.rglob("*")):
        if not any(path.resolve().is_relative_to(place) for place in homes):
            raise UserError(f"{path} is a link that leads out of its folder: put the file itself there.")
        if not (path.is_file() or path.is_dir()):
            raise UserError(f"{path} is no file that can be read: remove it.")
        if path.suffix in READ - {".safetensors"} and path.stat().st_size > MOST_JSON:
            raise UserError(f"{path} has more than {MOST_JSON >> 20} MiB: it is damaged.")


def model_digest(folder: Path) -> str:
    """Digest of all that is loaded from a model's folder; its pages are none of it."""
    refuse_strange_files(folder)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix in READ]
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return digest({name: sha256(path) for name, path in names.items() if not re.search(r"(^|/)\.", name)})


def _tensors(folder: Path) -> int:
    """The number of tensors in a folder's weights; raises UserError where one of the files is damaged."""
    from safetensors import SafetensorError, safe_open

    number = 0
    for path in folder.glob("*.safetensors"):
        try:
            with safe_open(path, "np") as weights:
                number += len(weights.keys())
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is damaged ({str(error)[:80]}): fetch the model again.") from error
    return number


def _object(path: Path) -> dict[str, Any]:
    """The JSON object in a file, {} without one; raises UserError where the file is no JSON."""
    facts = read_json(path) if path.exists() else {}
    return facts if isinstance(facts, dict) else {}


def _entries(value: Any) -> list[tuple[str, Any]]:
    """Every key and value of nested objects."""
    if not isinstance(value, dict):
        return []
    return [entry for key, inner in value.items() for entry in [(key, inner), *_entries(inner)]]


def _leads_out(folder: Path, name: str) -> bool:
    """Whether a name is that of an existing file outside the folder; what the maker's machine had is not here."""
    try:
        path = folder / name
        return path.exists() and not path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):  # no name of a file
        return False
