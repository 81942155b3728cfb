"""Damaged checkpoints: a resumed run ends as if they were whole; if none is whole, in one sentence."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import torch

from benchmarks.campaign.child import faults
from benchmarks.campaign.damage import flipped, truncated, zeroed
from benchmarks.campaign.training import Prepared, finished, prepare, train
from benchmarks.campaign.trial import Campaign, Outcome, Random

_DAMAGE = (truncated, flipped, zeroed, flipped)


class Hostile:
    """Unpickled by a careless reader, it leaves a file behind."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran",)


def foreign(path: Path, number: int) -> str:
    """Put something else in a checkpoint's place; returns what."""
    path.unlink()
    state: Any = (
        torch.zeros(3),
        [1, 2, 3],
        {"format": 1},
        {"format": "one", "step": "two", "model": {"a": torch.zeros(2, 2)}},
        {"format": 1, "step": 4, "recipe": {}, "best": None, "model": {}, "optimiser": {}},
        Hostile(),
        {"format": 1, "model": Hostile()},
        torch.zeros(4).to_sparse(),
        {"format": 10**30},
    )
    number %= len(state) + 3
    if number == len(state):
        path.mkdir()
        return "a folder"
    if number == len(state) + 1:
        path.symlink_to(path.name)
        return "a link to itself"
    if number == len(state) + 2:
        path.write_bytes(pickle.dumps({"format": 1, "model": Hostile()}))
        return "a bare pickle"
    torch.save(state[number], path)
    return f"content {number}"


def trial(prepared: Prepared, index: int, random: Random, folder: Path) -> Outcome:
    shutil.copytree(prepared.folder / "run", folder / "run")
    *older, newest = sorted((folder / "run" / "checkpoints").glob("step-*.pt"))[:4]  # as if killed at a third
    for path in sorted((folder / "run" / "checkpoints").glob("step-*.pt"))[4:]:
        path.unlink()
    if index % 4 == 3:
        what, same = foreign(newest, index // 4), False
    else:
        damage, before = _DAMAGE[index % len(_DAMAGE)], newest.read_bytes()
        newest.write_bytes(damage(before, random))
        what, same = damage.__name__, newest.read_bytes() == before
    if index % 10 == 9:
        for path in older:
            path.write_bytes(truncated(path.read_bytes(), random))
        ended = train(prepared, folder)
        return Outcome(f"{what}, all older ones truncated", "refused", faults(ended, 0 if same else 2) + _ran(folder))
    return Outcome(what, "resumed", finished(prepared, folder) + _ran(folder))


def _ran(folder: Path) -> list[str]:
    return ["code ran: out of a checkpoint"] if (folder / "ran").exists() else []


CAMPAIGN = Campaign("checkpoints", 60, 2, prepare, trial)
