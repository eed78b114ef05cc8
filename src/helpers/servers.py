"""Which model a stage asks behind an endpoint, as the environment names it: no address, no key and no password."""

from __future__ import annotations

from typing import Any

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
    """Those that a stage asks → the model; '' where the environment does not say.

    The host is not part of it: a server of one's own moves from port to port, and from machine to machine. Which host
    gave an answer stands with the answer.
    """
    return {name: env.secret(f"{name}_MODEL") for name in asked(stage, params)}


def changed(before: Any, stage: str, params: dict[str, Any]) -> str:
    """A sentence's worth on the first that is another than before; '' where none is or nobody knows."""
    now, before = named(stage, params), before if isinstance(before, dict) else {}
    others = [name for name, was in before.items() if was and now.get(name) not in (None, "", was)]
    return f"the {others[0].lower()} was {before[others[0]]} and is {now[others[0]]}" if others else ""
