"""`ncsr` itself: its help, its version, and how a run ends."""

from __future__ import annotations

import ncsr
from tests.conftest import Command


def test_version(ncsr_: Command) -> None:
    result = ncsr_("--version")
    assert (result.code, result.out, result.err) == (0, f"{ncsr.__version__}\n", "")
