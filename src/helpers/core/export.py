"""A saved learner as a folder for others: peft's files, the embedded base beside them, no path of this machine; and its upload."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from helpers import env
from helpers.core import saved
from helpers.core.base import model_path
from helpers.core.recipe import EMBEDDED
from helpers.env import UserError
from helpers.files import digest, read_json, sha256, write_json
from helpers.masking import without_secrets

LOCAL = "local folder"  # the revision of a base that is no hub model
RECORD, CARD = "export.json", "README.md"
BEFORE = "README.before-*.md"  # cards that somebody has edited, of models that were exported before
WHERE_PUSHED = re.compile(r"(?m)^datasets:\n(- .*\n)+")  # in a card's front matter: no other card because of it
BASE = "base"  # folder of the embedded base, beside its adapter
ANSWER_SECONDS = 60  # that the hub may take for one answer


def export_adapter(adapter: Path, folder: Path, revision: str = "") -> saved.Facts:
    """Copy a saved learner into a new folder, and return its facts; raises UserError where it is damaged.

    The embedded base goes with it. A base in another folder is named by its last part alone: whoever
    loads the adapter has to say where it is.

    Parameters
    ----------
    adapter, folder : Path
    revision : str
        Commit of a hub model that the training read, or LOCAL.
    """
    facts = saved.read_facts(adapter)
    learner, config = read_json(adapter / saved.FACTS), read_json(adapter / "adapter_config.json")
    model, recipe = facts.recipe.model, learner["recipe"]
    folder.mkdir(parents=True)
    for name in (saved.ADAPTER, saved.HEAD, saved.KINDS_HEAD):
        if (adapter / name).exists():
            shutil.copyfile(adapter / name, folder / name)
    config |= {"base_model_name_or_path": model, "revision": None}
    if model == EMBEDDED:
        base = Path(model_path(EMBEDDED))
        shutil.copytree(base, folder / BASE)
        shutil.copyfile(base.parent / "LICENSE", folder / BASE / "LICENSE")
        config["base_model_name_or_path"] = BASE
    elif base_source(facts, revision) == "folder":
        recipe["model"] = config["base_model_name_or_path"] = env.resolve(model).name
    else:
        recipe["revision"] = config["revision"] = facts.recipe.revision or revision or None
    recipe["revision"] = recipe["revision"] or ""
    write_json(folder / "adapter_config.json", config)
    write_json(folder / saved.FACTS, learner)
    return facts


def base_source(facts: saved.Facts, revision: str = "") -> str:
    """Where the base of a learner is found: embedded, folder or hub; arguments as for `export_adapter`."""
    if facts.recipe.model == EMBEDDED:
        return "embedded"
    return "folder" if revision == LOCAL or env.resolve(facts.recipe.model).is_dir() else "hub"


# --- the folder that is written ---


def refuse_foreign(folder: Path) -> None:
    """Raise UserError unless a folder is new, empty, or an earlier export to which nobody has added anything."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(f"{folder} is {'a link' if folder.is_symlink() else 'a file'}: name a folder.")
    known = _recorded(folder)
    if folder.exists() and not known and (first := next(folder.iterdir(), None)):  # it may be the whole disk
        raise UserError(
            f"{folder} holds {first.name}, which is not of an export: move it away, or name another folder."
        )
    for path in sorted(folder.rglob("*")) if folder.exists() else ():
        name = path.relative_to(folder).as_posix()
        if (path.is_dir() and not path.is_symlink()) or (known and name == RECORD):
            continue
        is_card = path.name == CARD or path.match(BEFORE)
        changed = name in known and (path.is_symlink() or (not is_card and sha256(path) != known[name]))
        if changed or name not in known:
            problem = "was changed since it was exported" if changed else "is not of an export"
            raise UserError(f"{folder} holds {name}, which {problem}: move it away, or name another folder.")


def keep_edited_cards(folder: Path, new: Path) -> dict[str, str]:
    """Take the cards that somebody has edited over into a new export of the folder, and write its record.

    A card that says other things now, as of another model or other scores, is not replaced by the edited one: that stays
    beside it. Returns {kind: the name of the file with what was edited}.
    """
    known, edited = _recorded(folder), {}
    for path in sorted(folder.glob(f"*/{BEFORE}")) if known else ():
        shutil.copyfile(path, new / path.relative_to(folder))
    record = {p.relative_to(new).as_posix(): sha256(p) for p in sorted(new.rglob("*")) if p.is_file()}
    for kind in ("model", "dataset"):
        name, told = f"{kind}/{CARD}", f"{kind}: what the card says"
        record[told] = digest(WHERE_PUSHED.sub("", (new / name).read_text(encoding="utf-8")))
        if name not in known or not (folder / name).is_file() or sha256(folder / name) == known[name]:
            continue
        edited[kind] = CARD
        if known.get(told) != record[told]:
            numbers = [int(n) for p in (new / kind).glob(BEFORE) if (n := p.stem.rpartition("-")[2]).isdecimal()]
            edited[kind] = BEFORE.replace("*", str(max(numbers, default=0) + 1))
            record[f"{kind}/{edited[kind]}"] = sha256(folder / name)
        shutil.copyfile(folder / name, new / kind / edited[kind])
    write_json(new / RECORD, record)
    return edited


def _recorded(folder: Path) -> dict[str, str]:
    """File → sha256 as the export wrote it; empty where there was none."""
    record = read_json(folder / RECORD) if (folder / RECORD).is_file() else {}
    return record if isinstance(record, dict) and f"model/{saved.FACTS}" in record else {}


# --- the hub ---------------------------------------------------------------------------------------------------------


def refuse_push(name: str) -> None:
    """Raise UserError unless `name` can be a repository's and this machine has a token for the hub."""
    from huggingface_hub import get_token
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UserError(f"--push {name[:100]!a} is no name of a repository: give owner/name.") from error
    if name.count("/") != 1:
        raise UserError(f"--push {name!r} is no name of a repository: give owner/name.")
    if not get_token():
        raise UserError("--push needs a token of the hub: run `hf auth login`, or set HF_TOKEN in the environment.")


def push(folder: Path, name: str, kind: str) -> str:
    """Upload a folder to the hub and return its address and who sees it; a new repository is private.

    Parameters
    ----------
    folder : Path
    name : str
        owner/name.
    kind : str
        model or dataset.

    Raises
    ------
    UserError
        Where the hub refuses, or gives no answer within ANSWER_SECONDS.
    """
    from huggingface_hub import HfApi, get_session, get_token
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    try:
        get_session().timeout = ANSWER_SECONDS  # by itself the client waits for ever
        hub = HfApi()
        address = hub.create_repo(name, repo_type=kind, private=True, exist_ok=True)
        facts = {"commit_message": "Exported by Ambo", "ignore_patterns": BEFORE}
        hub.upload_folder(repo_id=name, repo_type=kind, folder_path=folder, **facts)
        private = hub.repo_info(name, repo_type=kind).private
    except Exception as error:  # a server, a proxy or a cut line fails in many ways
        said = " ".join((str(error) or type(error).__name__).split())[:10_000]
        reason = without_secrets(said, get_token() or "")[:200]
        remedy = "check the token's rights and the connection; what was exported stays here"
        raise UserError(f"The hub did not take the {kind} {name} ({reason}): {remedy}.") from error
    return f"{without_secrets(address)} ({'private' if private else 'PUBLIC'})"
