"""The `ambo` command; `main` is its entry point."""

from helpers.cli.command import app, main

__all__ = ["app", "main"]
