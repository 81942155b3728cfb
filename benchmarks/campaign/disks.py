"""Disks that are full: one sentence, nothing half-written, nothing lost; with room made, the undisturbed result.

The disk is a file system in memory where this process may mount one, else a limit for the size of a file.
"""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.campaign.child import faults, run
from benchmarks.campaign.inputs import contents, litter, make_model, make_photo
from benchmarks.campaign.training import half_written
from benchmarks.campaign.training import prepare as prepare_training
from benchmarks.campaign.trial import Campaign, Outcome, Random

_COMPARED = (".png", ".tif", "model.safetensors", "config.json", "table.md", "results.csv")


class _Prepared(NamedTuple):
    folder: Path
    whole: dict[str, dict[str, bytes]]
    """For each command the files it leaves on a disk with room."""


def prepare(folder: Path) -> _Prepared:
    trained = prepare_training(folder)
    make_model(folder / "model")
    make_photo(folder / "photos" / "photo.png", 60, 50)
    make_photo(folder / "photos" / "other.tif", 30, 40)
    make_photo(folder / "large" / "photo.png", 200, 180)
    make_photo(folder / "hr" / "a.png", 64, 64)
    make_photo(folder / "sr" / "a.png", 64, 64)
    prepared = _Prepared(folder, {"train": trained.whole})
    for name in set(_COMMANDS) - {"train"}:
        place = folder / name
        place.mkdir()
        ended = run(place, *_command(name, folder, place))
        assert ended.code == 0, ended.err
        prepared.whole[name] = contents(place / "out")
    return prepared


def trial(prepared: _Prepared, index: int, random: Random, folder: Path) -> Outcome:
    name = _COMMANDS[index % len(_COMMANDS)]
    whole = prepared.whole[name]
    mounted = bool(random.integers(2))
    sizes = list(map(len, whole.values()))
    room = int(random.uniform(0, 1.1) * (sum(sizes) if mounted else max(sizes))) // 4096 * 4096 + 4096
    (folder / "out").mkdir()
    with _disk(folder / "out", room, mounted) as (limit, make_room):
        ended = run(folder, *_command(name, prepared.folder, folder), before=limit)
        found = faults(ended, 0, 1, 2) + litter_but_scratch(folder / "out")
        if name == "train":
            found += half_written(folder / "out")
        else:
            made = contents(folder / "out")
            found += [
                f"half-written: {n}" for n, data in made.items() if n.endswith(_COMPARED) and data != whole.get(n)
            ]
        make_room()
        again = run(folder, *_command(name, prepared.folder, folder)) if ended.code else ended
        found += [f"with room: {fault}" for fault in faults(again, 0) + litter(folder / "out")]
        made = contents(folder / "out")
    names = [n for n in sorted(made.keys() | whole.keys()) if n.endswith(_COMPARED) and "events.out" not in n]
    differ = [n for n in names if made.get(n) != whole.get(n)]
    found += [f"wrong result: {', '.join(differ)} differ with room"] if differ and again.code == 0 else []
    what = f"{name}, {room // 1024} KiB {'in all' if mounted else 'a file'}"
    return Outcome(what, "full" if ended.code else "not full", found)


def litter_but_scratch(folder: Path) -> list[str]:
    """A fault for hidden files other than those that the next run goes on with."""
    return [fault for fault in litter(folder) if ".scratch" not in fault]


def _command(name: str, prepared: Path, folder: Path) -> tuple[object, ...]:
    own = ("-m", prepared / "model", "-o", "out", "--seed", 7, "--device", "cpu")
    resume = ("--resume",) if any((folder / "out" / "checkpoints").glob("step-*")) else ()
    sources = ("--data", prepared / "data", "--validate", prepared / "held")
    return {
        "upscale": ("upscale", prepared / "photos", *own, "-n", 2),
        "tiles": ("upscale", prepared / "photos" / "photo.png", *own, "-n", 2, "--tile", 16, "--sheet"),
        "train": ("train", prepared / "recipe.yaml", *sources, "-o", "out", "--device", "cpu", *resume),
        "measure": ("measure", "--hr", prepared / "hr", "--sr", prepared / "sr", "--scale", 4, "-o", "out"),
        "prepare": ("prepare", prepared / "large", "-o", "out/packed.lmdb"),
    }[name]


_COMMANDS = ("upscale", "tiles", "train", "measure", "prepare")


@contextmanager
def _disk(place: Path, room: int, mounted: bool) -> Iterator[tuple[Callable[[], None] | None, Callable[[], None]]]:
    """Have a folder be a small disk; yields what limits a process to it, and what makes room on it."""
    if mounted and _mount(place, f"size={room}"):
        try:
            yield None, lambda: _remount(place)
        finally:
            subprocess.run(["umount", "--lazy", place], check=True)
    else:
        most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, most)), lambda: None


def _mount(place: Path, options: str) -> bool:
    """Whether a file system in memory could be mounted."""
    command = ["mount", "-t", "tmpfs", "-o", options, "campaign", os.fspath(place)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _remount(place: Path) -> None:
    subprocess.run(["mount", "-o", f"remount,size={2**28}", place], check=True)


CAMPAIGN = Campaign("disks", 50, 3, prepare, trial)
