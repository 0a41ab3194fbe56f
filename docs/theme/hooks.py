"""Bring files that lie beside ``docs/`` into the site, under the names that links have there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
BESIDE = {  # file of the repository -> its name in the site, where README.md would be taken for the home page
    "README.md": "readme.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "LICENSE": "LICENSE",
    "benchmarks/training_step.csv": "benchmarks/training_step.csv",
}


def on_files(files: Files, config: Any) -> Files:
    """Add the files beside ``docs/``; one that is not there fails the build."""
    for path, name in BESIDE.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Rewrite links out of ``docs/``, and those of the pages beside it into ``docs/``, as links inside the site."""
    for path, name in BESIDE.items():
        markdown = markdown.replace(f"](../{path}", f"]({name}")
    return markdown.replace("](docs/", "](") if page.file.src_uri in BESIDE.values() else markdown
