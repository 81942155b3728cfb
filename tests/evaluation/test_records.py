"""The records of an evaluation that was stopped."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ncsr.errors import InputError
from ncsr.evaluation import records as module
from ncsr.evaluation.records import Records
from ncsr.runtime.files import atomic_path
from ncsr.runtime.torchrun import Processes
from tests.evaluation.made import made_pair, made_samples


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\udcff"])
def test_a_damaged_record_is_told(tmp_path: Path, text: str) -> None:
    records = object.__new__(Records)
    records.folder = tmp_path
    (tmp_path / "photo.png.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InputError, match=r"photo\.png\.json is damaged .*: delete .* to begin anew"):
        records.read("photo.png")


def test_what_cannot_be_written_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that is full for a while the figures of the set are those of an undisturbed run."""
    settings = SimpleNamespace(key="key", rows=[SimpleNamespace(name="row")], calibration=False)
    files = {"0.png": "a", "1.png": "b"}

    def measured(output: Path, full: str | None) -> dict[str, float]:
        def write(path: Path) -> AbstractContextManager[Path]:
            if path.name.endswith(full):
                raise OSError(28, "No space left on device")
            return atomic_path(path)

        with Processes() as processes:
            records = Records(output, settings, files, processes)
            for seed, (name, fingerprint) in enumerate(files.items()):
                pair = made_pair(seed)
                arguments = (name, fingerprint, {"name": name}, "", {}, {"row": made_samples(pair, seed=seed)}, pair.hr)
                if full is not None:
                    with monkeypatch.context() as patched:
                        patched.setattr(module, "atomic_path", write)
                        with pytest.raises(InputError, match=r"cannot write to .*: No space left.*; make room there"):
                            records.add(*arguments)
                records.add(*arguments)
            return records.merged()["row"].figures()

    expected = measured(tmp_path / "whole", None)
    for name in (".json", ".safetensors"):
        assert measured(tmp_path / name, name) == pytest.approx(
            expected, rel=0, nan_ok=True
        )  # no grain: nothing is smooth


def test_photographs_with_the_longest_names_have_records(tmp_path: Path) -> None:
    settings = SimpleNamespace(key="key", rows=[SimpleNamespace(name="row")], calibration=False)
    name, pair = f"{'n' * 251}.png", made_pair()
    with Processes() as processes:
        records = Records(tmp_path, settings, {name: "1"}, processes)
        records.add(name, "1", {"name": name}, "<p>", {"a": pair.hr}, {"row": made_samples(pair)}, pair.hr)
    assert records.read(name) == {"name": name}
    assert records.section(name) == "<p>"
    assert torch.equal(records.panels(name)["a"], pair.hr)
