"""The `ambo` command; `main` is its entry point."""

import sys

from helpers.text import say


def main() -> None:
    """As `command.main`; a Ctrl-C while the modules are loaded, which takes a second, ends in a sentence too."""
    try:
        from helpers.cli.command import main as run
    except KeyboardInterrupt:
        say("ambo: interrupted before it began.", file=sys.stderr)
        sys.exit(130)
    run()
