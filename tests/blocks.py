"""The commands and the Python of the documents, as tests run them.

A block is run unless a comment before it says why not, `<!-- not run: it takes hours -->`, or the site runs it when it
is built (`exec="1"`). What is run goes on from the blocks before it on the page. Of a command that is not run, its
options are checked.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")]
)
_FENCE = re.compile(
    r"(?P<mark><!-- not run: [^\n]+ -->\n)?^ *```(?P<language>\w*)(?P<options>[^\n]*)\n(?P<text>.*?)^ *```$",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str
    run: bool


def blocks_of(page: str) -> Iterator[Block]:
    """All blocks of a page, from the top."""
    for found in _FENCE.finditer((ROOT / page).read_text(encoding="utf-8")):
        yield Block(found["language"], found["text"], found["mark"] is None and "exec=" not in found["options"])


def commands_of(block: Block) -> Iterator[list[str]]:
    """The commands of a block of `sh`, each as its words; what continues a line or follows `&&` included."""
    for line in block.text.replace("\\\n", " ").replace("&&\n", "\n").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def run_page(page: str, ncsr_: Any, names: dict[str, Any]) -> dict[str, Any]:
    """Run what is to be run of a page, Python in one namespace; returns it."""
    for block in blocks_of(page):
        if not block.run or block.language not in ("sh", "python"):
            continue
        if block.language == "python":
            exec(compile(block.text, page, "exec"), names)
            continue
        for words in commands_of(block):
            assert words[0] == "ncsr", f"{page}: {words} is no command that a test runs: say so, <!-- not run: why -->"
            result = ncsr_(*words[1:])
            assert result.code == 0, (page, words, result.err)
    return names
