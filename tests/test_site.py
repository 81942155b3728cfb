"""The documentation as a site: everything public is on it, and no page needs another machine."""

from __future__ import annotations

import functools
import html
import http.server
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import ncsr
from ncsr import images, latents, metrics
from ncsr.cli import app
from tests.conftest import process_environment

pytest.importorskip("mkdocs")
ROOT = Path(__file__).parents[1]
# Of the tutorials the text alone: `make docs` executes them.
BUILD = r"""
import logging, re, sys
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.plugins import BasePlugin

class Unexecuted(BasePlugin):
    def on_page_markdown(self, markdown, **_):
        return re.sub("^```([a-z]+) exec=.*", r"```\1", markdown, flags=re.M)

logging.basicConfig(level=logging.WARNING)
config = load_config("mkdocs.yml", site_dir=sys.argv[1], strict=True)
config.plugins["unexecuted"] = Unexecuted()
build(config)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site's files."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-c", BUILD, str(folder)]
    environment = process_environment() | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the site is served."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def page(chromium: Any, address: str) -> Iterator[Any]:
    """A window of 1300 pixels, in which nothing went wrong and no other machine was asked at the end."""
    wrong: list[str] = []
    page = chromium.new_context(viewport={"width": 1300, "height": 900}, base_url=address).new_page()
    page.set_default_timeout(120_000)  # on a busy machine
    page.on("request", lambda r: None if r.url.startswith((f"{address}/", "data:", "blob:")) else wrong.append(r.url))
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    yield page
    page.context.close()
    assert wrong == []


def test_every_public_name_has_an_entry(site: Path) -> None:
    data = (site / "objects.inv").read_bytes()
    entries = zlib.decompress(data.split(b"\n", 4)[4]).decode().splitlines()
    names = {entry.split(" ")[0] for entry in entries}
    streaming = pytest.importorskip("ncsr.metrics.streaming")
    public = {
        f"{module.__name__}.{n}" for module in (ncsr, images, latents, metrics, streaming) for n in module.__all__
    }
    assert public - names == set()


def test_every_option_has_an_entry(site: Path) -> None:
    text = html.unescape((site / "reference/command-line/index.html").read_text(encoding="utf-8"))
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        _, section = text.split(f'<h2 id="ncsr-{name}">')
        section = section.split("<h2", 1)[0]
        for parameter in command.params:
            for option in parameter.opts if parameter.param_type_name == "option" else ():
                assert f"{option}, " in section or f"{option} " in section or f"{option}<" in section, (name, option)


@pytest.mark.parametrize("path", ["", "gallery/", "architecture/", "tutorials/compare/", "reference/command-line/"])
def test_pages_ask_no_other_machine(page: Any, path: str) -> None:
    page.goto(f"/{path}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1300
    assert page.evaluate("[...document.images].filter(image => !image.naturalWidth).map(image => image.src)") == []


def test_formulas_are_set(page: Any) -> None:
    page.goto("/mathematics/")
    assert page.locator(".katex").count() > 100
    assert page.locator(".arithmatex:not(:has(.katex)), .katex-error").count() == 0
    assert "$" not in page.locator("article").inner_text()
    cut = "[...document.querySelectorAll('.katex-display')].filter(f => f.scrollWidth > f.clientWidth).length"
    assert page.evaluate(cut) == 0


def test_functions_are_described(page: Any) -> None:
    page.goto("/reference/ncsr/#ncsr.upscale")
    assert "Enlarge a photograph into several plausible ones" in page.locator("article").inner_text()


@pytest.mark.parametrize(("query", "found"), [("--skip-existing", "ncsr upscale"), ("interpolate", "interpolate")])
def test_search(page: Any, query: str, found: str) -> None:
    page.goto("/")
    page.locator("input.md-search__input").click()
    page.locator(".md-search-result__meta", has_text="Type to start searching").wait_for()
    page.locator("input.md-search__input").press_sequentially(query, delay=50)
    page.locator(".md-search-result__item:first-child", has_text=found).wait_for()  # those of half a word come before


def test_no_link_leaves_the_site_unchanged(site: Path) -> None:
    """Links to files outside docs/ lead to the repository; a site has no such files."""
    assert not any('href="../SECURITY.md"' in page.read_text(encoding="utf-8") for page in site.rglob("*.html"))
    assert "SECURITY.md" in (site / "reliability/index.html").read_text(encoding="utf-8")
