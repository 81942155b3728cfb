"""The page in a browser: the server is a process of its own, the browser the machine's Chromium."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from subprocess import PIPE

import pytest

from tests.conftest import process_environment

playwright = pytest.importorskip("playwright.sync_api")
if find_spec("gradio") is None:  # which takes seconds to import
    pytest.skip("the page's tests need the extra app", allow_module_level=True)


@pytest.fixture(scope="session")
def address(tiny_model_folder: Path) -> Iterator[str]:
    """Where the page is, with the tiny model."""
    command = [sys.executable, "-m", "ncsr", "app", "--port", "0", "--device", "cpu", "-m", str(tiny_model_folder)]
    command += ["--max-megabytes", "2"]
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731 (which shells let background jobs ignore)
    with subprocess.Popen(
        command, stdout=PIPE, stderr=PIPE, text=True, env=process_environment(), preexec_fn=heed
    ) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.send_signal(signal.SIGINT)
        try:
            out, told = server.communicate(timeout=30)
        finally:
            server.kill()
        assert (server.returncode, out, told) == (130, "", "ncsr: stopped by Ctrl-C\n")


@pytest.fixture
def wrong(address: str) -> Iterator[list[str]]:
    """What pages asked of other machines, and their errors: none."""
    found: list[str] = []
    yield found
    assert found == []


def open_page(
    browser: playwright.Browser, address: str, wrong: list[str], width: int = 1400, **how: str
) -> playwright.Page:
    """A new visitor's page."""
    page = browser.new_context(viewport={"width": width, "height": 900}, **how).new_page()
    page.set_default_timeout(30_000)
    ours = (f"{address}/", f"blob:{address}/", "data:", "about:")
    page.on("request", lambda request: None if request.url.startswith(ours) else wrong.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(address)
    return page


@pytest.fixture
def page(chromium: playwright.Browser, address: str, wrong: list[str]) -> Iterator[playwright.Page]:
    """The page of a new visitor."""
    page = open_page(chromium, address, wrong)
    yield page
    page.context.close()
