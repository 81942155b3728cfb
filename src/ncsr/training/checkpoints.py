"""Checkpoints of a run: each is written whole or not at all, the last few are kept, the newest whole one is read.

A checkpoint is a file of `torch.save` and, behind it, the SHA-256 of all its bytes. It holds format (here), recipe,
best, validation_due and data (`run.py`), and step, model, average, optimiser, skipped, returns (how often the run was
rolled back) and random, the generator's state (`trainer.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from ncsr.errors import InputError
from ncsr.runtime.files import atomic_path, make_folder
from ncsr.runtime.memory import is_exhaustion

FOLDER = "checkpoints"
FORMAT = 1
"""Increased when a checkpoint's content changes; older versions of the package refuse newer formats."""
_CHECKSUM = b"\nsha256 "  # before the digits
_CHECKSUM_LENGTH = len(_CHECKSUM) + 64


def write_checkpoint(run: Path, state: dict[str, Any], keep: int, best: int | None = None) -> None:
    """Write the checkpoint of `state["step"]`; of the earlier ones the last `keep - 1` stay, and that of step `best`.

    Raises:
        InputError: it cannot be written, as on a full disk; the earlier ones are untouched.
    """
    path = make_folder(run / FOLDER) / f"step-{state['step']:08}.pt"
    try:
        with atomic_path(path) as temporary:
            torch.save({"format": FORMAT, **state}, temporary)
            checksum = _sha256(temporary, temporary.stat().st_size)
            with temporary.open("ab") as file:
                file.write(_CHECKSUM + checksum)
    except (OSError, RuntimeError) as error:  # torch's own writer raises the latter when the disk is full
        if is_exhaustion(error):
            raise
        reason = getattr(error, "strerror", None) or "is the disk full?"
        raise InputError(
            f"cannot write the checkpoint {path}: {reason}; make room there, then resume the run"
        ) from None
    # Later ones, which a run that went back from damaged ones finds, take nobody's place.
    for old in [old for old in checkpoints(run) if old.name <= path.name][keep:]:
        if best is None or old.name != f"step-{best:08}.pt":
            with suppress(OSError):
                old.unlink()


def checkpoints(run: Path) -> list[Path]:
    """The checkpoint files of a run, newest first."""
    return sorted((run / FOLDER).glob("step-*.pt"), reverse=True)


def read_newest(
    run: Path, restore: Callable[[dict[str, Any]], None] = lambda state: None
) -> tuple[dict[str, Any], list[str]]:
    """The newest whole checkpoint's state, and one message for each newer file that is damaged.

    Args:
        run: the run's folder.
        restore: called with the state; a checkpoint is damaged, too, if this raises anything but an `InputError`.

    Raises:
        InputError: there is none, or it was written by a newer version of the package; what `restore` raises.
        MemoryError: there is not enough memory for it.
    """
    damaged: list[str] = []
    for path in checkpoints(run):
        try:
            state = _read(path)
            restore(state)
        except InputError:
            raise
        except Exception as error:  # a damaged pickle, or one that holds something else, ends in errors of every kind
            if is_exhaustion(error):
                raise MemoryError(f"cannot read the checkpoint {path}: there is not enough memory") from error
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            damaged.append(f"{path} is damaged ({reason})")
        else:
            return state, [f"{what}: going back to the checkpoint before it" for what in damaged]
    found = f"every checkpoint there is damaged, {damaged[0]}" if damaged else f"no checkpoint in {run / FOLDER}"
    raise InputError(f"nothing to resume in {run}: {found}; leave out --resume and name another -o to start a run")


def _read(path: Path) -> dict[str, Any]:
    length = path.stat().st_size - _CHECKSUM_LENGTH
    with path.open("rb") as file:
        file.seek(max(length, 0))
        end = file.read()
    if end.startswith(_CHECKSUM) and end != _CHECKSUM + _sha256(path, length):  # older ones have none
        raise ValueError("its checksum is not that of its content")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise ValueError("it holds no dictionary")
    version = state["format"]
    if version > FORMAT and not end.startswith(_CHECKSUM):  # which every later ncsr writes
        raise ValueError(f"it names format {version:.3g}, and has no checksum")
    if version > FORMAT:
        raise InputError(
            f"{path} was written by a newer ncsr (checkpoint format {version}, this one reads up to {FORMAT}): "
            "update ncsr to resume this run"
        )
    return state


def _sha256(path: Path, length: int) -> bytes:
    """Hexadecimal digits of the checksum of a file's first bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(min(length, 1 << 20)):
            digest.update(block)
            length -= len(block)
    return digest.hexdigest().encode()
