"""Which model at which host a stage asks behind an endpoint, as the environment names them: no key and no password."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from helpers import env


def asked(stage: str, params: dict[str, Any]) -> list[str]:
    """Those of TEACHER and JUDGE whose endpoint a stage asks with these parameters."""
    labeller = params.get("labeller")
    is_asked = {
        "TEACHER": params.get("teacher") == "endpoint" and labeller != "oracle",
        "JUDGE": params.get("judge") == "endpoint" or params.get("scorer") == "judge",
    }
    if stage == "03_active_learning":  # its teacher is an endpoint
        is_asked["TEACHER"] = labeller == "teacher"
    return [name for name, is_one in is_asked.items() if is_one]


def named(stage: str, params: dict[str, Any]) -> dict[str, str]:
    """Those that a stage asks → `model at host`; '' where the environment does not say."""
    return {name: _named(name) for name in asked(stage, params)}


def changed(before: Any, stage: str, params: dict[str, Any]) -> str:
    """A sentence's worth on the first that is another than before; '' where none is or nobody knows."""
    now, before = named(stage, params), before if isinstance(before, dict) else {}
    others = [name for name, was in before.items() if was and now.get(name) not in (None, "", was)]
    return f"the {others[0].lower()} was {before[others[0]]} and is {now[others[0]]}" if others else ""


def _named(name: str) -> str:
    model = env.secret(f"{name}_MODEL")
    try:
        parts = urlsplit(env.secret(f"{name}_BASE_URL"))
        host = f"{parts.hostname or ''}:{parts.port}" if parts.port else parts.hostname or ""
    except ValueError:  # no address
        host = ""
    is_host = re.fullmatch(r"[\w.:-]+", host)
    return f"{model} at {host}" if model and is_host else ""
