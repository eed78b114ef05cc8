"""The cell with which every notebook finds or fetches the project on Colab and Kaggle; it is a no-op elsewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

from helpers.env import UserError
from helpers.files import read_json, write_text

TAG = "colab"
CELL = """
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

REPOSITORY, BRANCH = "{repository}", "{branch}"  # `ambo badges OWNER/REPO` writes them
KEEP = False  # True keeps the project and outputs/ in your Google Drive
if "google.colab" in sys.modules or "KAGGLE_KERNEL_RUN_TYPE" in os.environ:  # a no-op elsewhere
    home = Path.cwd()
    if KEEP and "google.colab" in sys.modules:
        from google.colab import drive

        drive.mount("/content/drive")
        home = Path("/content/drive/MyDrive")
    places = [*Path.cwd().parents, Path.cwd(), home / "ambo"]
    home = next((p for p in places if (p / "src/helpers").is_dir()), home / "ambo")
    if REPOSITORY and not home.exists():
        url = f"https://github.com/{{REPOSITORY}}"
        subprocess.run(["git", "clone", "-q", "--depth=1", "-b", BRANCH, url, str(home)])
    if not (home / "src/helpers").is_dir():
        remedy = "upload its folder as `ambo`, or put it in your Drive and set KEEP = True"
        sys.exit(f"The project is not in {{home}}: {{remedy}}.")
    os.chdir(home)
    sys.path[:0] = [str(home / "src")] * (str(home / "src") not in sys.path)
    if not all(map(find_spec, ["bitsandbytes", "papermill", "fairlearn"])):
        install = [sys.executable, "-m", "pip", "install", "-q", "-e", str(home)]
        subprocess.run(install, check=True)
""".strip()
BADGE = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({url})"
NAME = r"[A-Za-z0-9._/-]*"
CHANGING = re.compile(
    rf'(?m)^(REPOSITORY, BRANCH = "{NAME}", "{NAME}"|KEEP = (True|False))( *#.*)?$'
)  # whatever the values


def bootstrap_cell(repository: str = "", branch: str = "main") -> str:
    """The code of the cell, for a project in the GitHub repository OWNER/NAME; '' where it is in none."""
    return CELL.format(repository=repository, branch=branch)


def is_bootstrap(cell: str) -> bool:
    """Whether a cell is this one, with any values."""
    return CHANGING.sub("", cell).strip() == CHANGING.sub("", bootstrap_cell()).strip()


def write_badges(folder: Path, repository: str, branch: str = "main") -> list[Path]:
    """Write the repository into the cell of every notebook in a folder, and the badge that opens it in Colab below its head.

    Without a repository the badges are taken out. Returns the notebooks that changed; raises UserError where the repository
    is no OWNER/NAME, or the branch no name of one.
    """
    if repository and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}", repository):
        raise UserError(f"{repository!r} is no repository on GitHub: write it as OWNER/NAME.")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,200}", branch):
        raise UserError(f"--branch {branch!r} is no name of a branch: use letters, digits and . _ / - only.")
    changed = []
    for path in sorted(folder.glob("*.ipynb")):
        page = read_json(path)
        cells = page.get("cells", []) if isinstance(page, dict) else []
        before = json.dumps(page)
        if len(cells) < 2 or cells[0]["cell_type"] != "markdown" or TAG not in cells[1]["metadata"].get("tags", []):
            continue  # somebody's own
        head, cell = cells[:2]
        text = "".join(head["source"])
        text = re.sub(r"\n*\[!\[Open in Colab\]\([^)]*\)\]\([^)]*\)", "", text).rstrip()
        if repository:
            url = f"https://colab.research.google.com/github/{repository}/blob/{branch}/notebooks/{path.name}"
            text += f"\n\n{BADGE.format(url=url)}"
        head["source"] = text.splitlines(keepends=True)
        cell["source"] = bootstrap_cell(repository, branch).splitlines(keepends=True)
        if json.dumps(page) != before:
            write_text(path, json.dumps(page, indent=1, ensure_ascii=False) + "\n")
            changed.append(path)
    return changed
