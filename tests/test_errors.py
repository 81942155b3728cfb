"""Errors that say what to install, and no more than they know."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ncsr.errors import InputError, brief, needs_extra, printable
from tests.conftest import Command, scene8


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with (
        pytest.raises(InputError, match=r"^plots need matplotlib: pip install 'ncsr\[eval\]', or in a checkout: "),
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


IMPORT_IT = ["ncsr.metrics.streaming", *(f"ncsr.evaluation.{name}" for name in ("measuring", "run"))]


@pytest.mark.parametrize(
    ("command", "package", "modules", "sentence"),
    [
        ("train x4 --dry-run", "lightning_fabric", ["ncsr.training.dry_run"], "training needs more packages"),
        ("prepare photos -o photos.lmdb --smallest 16", "lmdb", [], "packed photographs need the lmdb package"),
        ("measure --hr a --sr b -s 4 -o c", "jinja2", ["ncsr.evaluation.html", "ncsr.evaluation.run"], "reports need"),
        ("measure --hr a --sr b -s 4 -o c", "torchmetrics", IMPORT_IT, "needs torchmetrics"),
        ("export x4-small -o a.onnx", "onnxruntime", [], "exporting needs more packages"),
        ("upscale a.png -o b --ray", "ray", [], "--ray needs Ray on every machine"),
        ("app", "gradio", ["ncsr.app.server"], "the page needs Gradio"),
    ],
)
def test_every_extra_says_how_it_is_installed(
    ncsr_: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: str,
    package: str,
    modules: Sequence[str],
    sentence: str,
) -> None:
    """By a command for those who installed a release, and one that works in a checkout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    for module in modules:  # imported before by other tests
        monkeypatch.delitem(sys.modules, module, raising=False)
    for folder in ("a", "photos"):
        Path(folder).mkdir()
        Image.fromarray(scene8(64, 64)).save(f"{folder}/b.png")
    commands = r"pip install 'ncsr\[(\w+)\]', or in a checkout: pip install -c constraints.txt '.\[\1\]'$"
    ncsr_(*command.split()).failed(f"{sentence}.*: {commands}")


def test_brief_is_one_line() -> None:
    assert brief(np.zeros((2, 2))) == "array([[0., 0.], [0., 0.]])"
    assert len(brief("x" * 1000)) <= 100


def test_printable() -> None:
    assert printable("ü photo.png") == "ü photo.png"
    assert printable("a\x1b[31m\n\r\udce9\u202eb") == r"a\x1b[31m\n\r\udce9\u202eb"
