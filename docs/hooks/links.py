"""Links from a page to files outside docs/: to the repository, where a plain code host finds them by the same path."""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\[([^\]]*)\]\((\.\./[^)#\s]+)\)")
log = logging.getLogger("mkdocs.plugins.links")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with links that leave docs/ leading to the repository, if the package states its address."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    repository = project.get("urls", {}).get("Repository", "").rstrip("/")
    folder = Path(config.docs_dir, page.file.src_uri).parent

    def outside(link: re.Match[str]) -> str:
        text, target = link[1], Path(os.path.normpath(folder / link[2]))
        if target.is_relative_to(config.docs_dir):
            return link[0]
        if not target.exists():
            log.warning(f"{page.file.src_uri}: there is no {link[2]}")
        kind = "tree" if target.is_dir() else "blob"
        return f"[{text}]({repository}/{kind}/main/{target.relative_to(ROOT).as_posix()})" if repository else text

    return LINK.sub(outside, markdown)
