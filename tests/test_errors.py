"""Errors that say what to install, and no more than they know."""

from __future__ import annotations

import sys

import pytest

from ncsr.errors import InputError, needs_extra, printable
from tests.conftest import Command


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with (
        pytest.raises(InputError, match=r"^plots need matplotlib: pip install 'ncsr\[eval\]'$"),
        needs_extra("eval", "plots need matplotlib", "matplotlib"),
    ):
        import matplotlib.pyplot  # noqa: F401


def test_other_import_errors_are_what_they_are() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"ncsr\.nothing"), needs_extra("eval", "plots", "matplotlib"):
        import ncsr.nothing  # type: ignore[import-not-found]  # noqa: F401
    with pytest.raises(ImportError, match="cannot import name"), needs_extra("eval", "plots", "matplotlib"):
        from ncsr.errors import OutputError  # type: ignore[attr-defined]  # noqa: F401


def test_training_with_a_bug_of_ours_is_not_a_missing_extra(ncsr_: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ncsr.training.signals", None)
    with pytest.raises(ModuleNotFoundError, match=r"ncsr\.training\.signals"):
        ncsr_("train", "x4-small", "--data", "photos", "-o", "run")


def test_printable() -> None:
    assert printable("ü photo.png") == "ü photo.png"
    assert printable("a\x1b[31m\n\r\udce9\u202eb") == r"a\x1b[31m\n\r\udce9\u202eb"
