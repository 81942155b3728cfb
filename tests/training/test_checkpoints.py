"""Checkpoints: the last ones are kept, damaged ones passed over."""

from __future__ import annotations

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


@pytest.mark.parametrize("content", [b"", b"no checkpoint", "half", "other"])
def test_damaged_checkpoints_are_passed_over(tmp_path: Path, content: bytes | str) -> None:
    for step in (1, 2):
        write_checkpoint(tmp_path, {"step": step, "weight": torch.zeros(999)}, keep=2)
    newest = checkpoints(tmp_path)[0]
    whole = newest.read_bytes()
    if content == "other":
        torch.save({"weight": torch.zeros(3)}, newest)
    else:
        newest.write_bytes(whole[: len(whole) // 2] if content == "half" else content)  # type: ignore[arg-type]
    state, damaged = read_newest(tmp_path)
    assert state["step"] == 1
    assert damaged == [f"{newest} is damaged: going back to the checkpoint before it"]
    checkpoints(tmp_path)[1].write_bytes(b"")
    with pytest.raises(InputError, match=r"nothing to resume in .*: every checkpoint there is damaged"):
        read_newest(tmp_path)


def test_checkpoints_of_a_newer_version_are_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, {"step": 1}, keep=2)
    torch.save({"format": FORMAT + 1, "step": 2}, tmp_path / "checkpoints" / "step-00000002.pt")
    with pytest.raises(
        InputError, match=rf"newer ncsr \(checkpoint format {FORMAT + 1}, this one reads up to {FORMAT}"
    ):
        read_newest(tmp_path)


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing to resume in .*: no checkpoint in .*leave out --resume"):
        read_newest(tmp_path)
