"""Files are whole or absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ncsr.errors import InputError
from ncsr.runtime.files import atomic_path, explain_write_errors, make_folder


def test_file_appears_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "model.safetensors"
    target.write_text("old")
    with atomic_path(target) as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".safetensors")
        assert temporary.name.startswith(".")
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == [target.name]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_failure_removes_the_temporary_file(tmp_path: Path, failure: type[BaseException]) -> None:
    def fail() -> None:
        with atomic_path(tmp_path / "a.png") as temporary:
            temporary.write_text("half")
            raise failure

    with pytest.raises(failure):
        fail()
    assert os.listdir(tmp_path) == []


def test_what_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    for remedy, end in (("", ""), ("choose another place", "; choose another place")):
        with (
            pytest.raises(InputError, match=rf"^cannot write {tmp_path}/no/a: No such file or directory{end}$"),
            explain_write_errors(tmp_path / "no" / "a", remedy),
            atomic_path(tmp_path / "no" / "a") as temporary,
        ):
            temporary.write_text("half")
    with pytest.raises(ValueError, match="a bug"), explain_write_errors("a"):
        raise ValueError("a bug")


def test_make_folder(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b").is_dir()
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "out", tmp_path / "file" / "out" / "deep"):
        with pytest.raises(InputError, match=r"cannot make the folder .*file is a file"):
            make_folder(folder)
