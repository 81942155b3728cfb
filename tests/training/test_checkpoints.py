"""Checkpoints: the last ones are kept, damaged ones passed over."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from ncsr.errors import InputError
from ncsr.training.checkpoints import FORMAT, checkpoints, read_newest, write_checkpoint


def test_checkpoints_rotate_and_the_best_stays(tmp_path: Path) -> None:
    for step in range(1, 7):
        write_checkpoint(tmp_path, {"step": step}, keep=2, best=2)
    assert [path.name for path in checkpoints(tmp_path)] == [f"step-0000000{n}.pt" for n in (6, 5, 2)]
    assert read_newest(tmp_path) == ({"format": FORMAT, "step": 6}, [])


def _write_two(folder: Path) -> Path:
    """Write two checkpoints; returns the newer one's file."""
    for step in (1, 2):
        write_checkpoint(folder, {"step": step, "weight": torch.zeros(99)}, keep=2)
    return checkpoints(folder)[0]


def test_no_changed_byte_is_taken_as_whole(tmp_path: Path) -> None:
    """Wherever it is: among the numbers, in the pickle, in the zip file's directory, in the checksum."""
    newest = _write_two(tmp_path)
    whole = newest.read_bytes()
    changed = [whole[:i] + bytes([whole[i] ^ 0x10]) + whole[i + 1 :] for i in range(0, len(whole), 3)]
    went_back = 0
    for content in changed:
        newest.write_bytes(content)
        state, damaged = read_newest(tmp_path)
        went_back += len(damaged)
        assert state["step"] == 2 - len(damaged)
        assert torch.equal(state["weight"], torch.zeros(99))
    assert went_back >= len(changed) - 3  # the word before the checksum may have changed, and nothing else


def test_checkpoints_of_zeros_are_passed_over(tmp_path: Path) -> None:
    newest = _write_two(tmp_path)
    whole = newest.read_bytes()
    for start in range(0, len(whole), 256):
        newest.write_bytes((whole[:start] + bytes(256) + whole[start + 256 :])[: len(whole)])
        assert read_newest(tmp_path)[0]["step"] == 1


def test_checkpoints_from_before_there_were_checksums(tmp_path: Path) -> None:
    newest = _write_two(tmp_path)
    torch.save({"format": FORMAT, "step": 2}, newest)
    assert read_newest(tmp_path) == ({"format": FORMAT, "step": 2}, [])


def test_what_goes_on_from_an_older_checkpoint_keeps_its_own(tmp_path: Path) -> None:
    _write_two(tmp_path)
    write_checkpoint(tmp_path, {"step": 9}, keep=2)
    checkpoints(tmp_path)[0].write_bytes(b"damaged")
    for step in (3, 4):
        write_checkpoint(tmp_path, {"step": step}, keep=1)
        assert read_newest(tmp_path)[0]["step"] == step


def test_want_of_memory_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = _write_two(tmp_path)

    def out_of_memory(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch, "load", out_of_memory)
    with pytest.raises(MemoryError, match=f"cannot read the checkpoint {newest}: there is not enough memory"):
        read_newest(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", "half", "other", "list", "tensor", "folder", "format"])
def test_damaged_checkpoints_are_passed_over(tmp_path: Path, content: bytes | str) -> None:
    for step in (1, 2):
        write_checkpoint(tmp_path, {"step": step, "weight": torch.zeros(999)}, keep=2)
    newest = checkpoints(tmp_path)[0]
    whole = newest.read_bytes()
    others = {
        "other": {"weight": torch.zeros(3)},
        "list": [1, 2],
        "tensor": torch.zeros(3),
        "format": {"format": 10**30},
    }
    if content == "folder":
        newest.unlink()
        newest.mkdir()
    elif content in others:
        torch.save(others[str(content)], newest)
    else:
        newest.write_bytes(whole[: len(whole) // 2] if content == "half" else content)  # type: ignore[arg-type]
    state, damaged = read_newest(tmp_path)
    assert state["step"] == 1
    assert len(damaged) == 1
    assert re.fullmatch(rf"{newest} is damaged \(.{{1,120}}\): going back to the checkpoint before it", damaged[0])
    checkpoints(tmp_path)[1].write_bytes(b"")
    with pytest.raises(InputError, match=r"nothing to resume in .*: every checkpoint there is damaged"):
        read_newest(tmp_path)


def test_checkpoints_of_a_newer_version_are_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, {"step": 1}, keep=2)
    write_checkpoint(tmp_path, {"step": 2, "format": FORMAT + 1}, keep=2)
    with pytest.raises(
        InputError, match=rf"newer ncsr \(checkpoint format {FORMAT + 1}, this one reads up to {FORMAT}"
    ):
        read_newest(tmp_path)


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing to resume in .*: no checkpoint in .*leave out --resume"):
        read_newest(tmp_path)
