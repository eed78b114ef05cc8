"""A prompt in the chat template of a model, which is a stranger's program: it runs in a process of its own, within limits."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from helpers.env import UserError

SECONDS = 60  # that a template may take, to begin with
SECONDS_EACH = 0.05  # more for every prompt; a thousand of them take one
MEMORY = 2 * 2**30  # bytes of address space, where the system can limit it
GROWTH = 20_000  # characters that a template may add to a prompt
# Loops can be nested and texts doubled in more ways than reading a template would find.
CHILD = """
import json, sys
asked = json.loads(sys.stdin.readline())
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (asked["memory"], asked["memory"]))
except (ImportError, ValueError, OSError):
    pass
from transformers.utils.chat_template_utils import render_jinja_template
for line in sys.stdin:
    prompt = json.loads(line)
    turns = [[{"role": "user", "content": prompt}]]
    (chat,), _ = render_jinja_template(
        conversations=turns, chat_template=asked["template"], add_generation_prompt=True, **asked["tokens"]
    )
    if len(chat) > len(prompt) + asked["growth"]:
        sys.exit(f"it makes {len(chat):,} characters of {len(prompt):,}")
    print(json.dumps(chat))
"""


def in_template(tokenizer: Any, prompts: Sequence[str], model: str) -> list[str]:
    """Every prompt as a user's turn in the tokenizer's chat template, with the opening of the answer.

    Raises UserError where the template fails, grows beyond a limit or does not end; `model` is named in the sentence.
    """
    if not len(prompts):
        return []
    limits, seconds = {"memory": MEMORY, "growth": GROWTH}, SECONDS + SECONDS_EACH * len(prompts)
    try:
        asked = limits | {"template": tokenizer.get_chat_template(), "tokens": tokenizer.special_tokens_map}
        lines = "".join(json.dumps(line) + "\n" for line in [asked, *prompts])  # JSON has no line end of its own
        words = [sys.executable, "-P", "-c", CHILD]
        child = subprocess.run(words, input=lines.encode(), capture_output=True, timeout=seconds)
        if child.returncode == 0:
            return [json.loads(line) for line in child.stdout.splitlines()]
        said = child.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = (said or [f"its process ended with {child.returncode}"])[-1][:200]
    except subprocess.TimeoutExpired:
        reason = f"it has not ended after {seconds:.0f} seconds"
    except ValueError as error:  # several templates, and none is the default
        reason = str(error)[:200]
    raise UserError(f"model {model!r} has a chat template that cannot be used ({reason}): correct or remove it.")
