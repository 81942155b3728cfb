"""Checkpoints of a run: each is written whole or not at all, the last few are kept, the newest whole one is read.

A checkpoint is a file of `torch.save`: format (here), recipe and best (`run.py`), and step, model, average, optimiser,
skipped, returns (how often the run was rolled back) and random, the generator's state (`trainer.py`).
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from ncsr.errors import InputError
from ncsr.runtime.files import atomic_path, make_folder

FOLDER = "checkpoints"
FORMAT = 1
"""Increased when a checkpoint's content changes; older versions of the package refuse newer formats."""


def write_checkpoint(run: Path, state: dict[str, Any], keep: int, best: int | None = None) -> None:
    """Write the checkpoint of `state["step"]`, then remove all but the last `keep` and the one of step `best`.

    Raises:
        InputError: it cannot be written, as on a full disk; the earlier ones are untouched.
    """
    path = make_folder(run / FOLDER) / f"step-{state['step']:08}.pt"
    try:
        with atomic_path(path) as temporary:
            torch.save({"format": FORMAT, **state}, temporary)
    except (OSError, RuntimeError) as error:  # torch's own writer raises the latter when the disk is full
        reason = getattr(error, "strerror", None) or "is the disk full?"
        raise InputError(
            f"cannot write the checkpoint {path}: {reason}; make room there, then resume the run"
        ) from None
    for old in checkpoints(run)[keep:]:
        if best is None or old.name != f"step-{best:08}.pt":
            old.unlink(missing_ok=True)


def checkpoints(run: Path) -> list[Path]:
    """The checkpoint files of a run, newest first."""
    return sorted((run / FOLDER).glob("step-*.pt"), reverse=True)


def read_newest(run: Path) -> tuple[dict[str, Any], list[str]]:
    """The newest whole checkpoint's state, and one message for each newer file that is damaged.

    Raises:
        InputError: there is none, or it was written by a newer version of the package.
    """
    damaged = []
    for path in checkpoints(run):
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            version = state["format"]
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError):
            damaged.append(f"{path} is damaged: going back to the checkpoint before it")
            continue
        if version > FORMAT:
            raise InputError(
                f"{path} was written by a newer ncsr (checkpoint format {version}, this one reads up to {FORMAT}): "
                "update ncsr to resume this run"
            )
        return state, damaged
    found = "every checkpoint there is damaged" if damaged else f"no checkpoint in {run / FOLDER}"
    raise InputError(f"nothing to resume in {run}: {found}; leave out --resume and name another -o to start a run")
