"""Memory that is limited (`ulimit`) to a random amount: the pictures of a run without a limit, or one sentence."""

from __future__ import annotations

import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmarks.campaign.child import Ended, faults, run
from benchmarks.campaign.inputs import contents, litter, make_model, make_photo, make_recipe
from benchmarks.campaign.trial import Campaign, Outcome, Random, pick

_LIMITS = {"VmSize": resource.RLIMIT_AS, "VmData": resource.RLIMIT_DATA}
_MEBIBYTES = 200  # more than what is tried here takes
_PHOTOS = {"small.png": (24, 20), "large.png": (90, 140)}


class _Prepared(NamedTuple):
    folder: Path
    pictures: dict[str, bytes]
    """Of a run without a limit, in one piece each."""


def prepare(folder: Path) -> _Prepared:
    make_model(folder / "model")
    for name, size in _PHOTOS.items():
        make_photo(folder / "photos" / name, *size)
        make_photo(folder / "data" / name, 90, 80)
    make_recipe(folder / "recipe.yaml")
    ended = _ncsr("upscale", folder, folder)
    assert ended.code == 0, ended.err
    return _Prepared(folder, contents(folder / "out"))


def trial(prepared: _Prepared, index: int, random: Random, folder: Path) -> Outcome:
    command = ("upscale", "tiles", "train")[index % 3]
    field, mebibytes = pick(random, list(_LIMITS)), int(random.integers(_MEBIBYTES))
    ended = _ncsr(command, prepared.folder, folder, before=_limit(field, mebibytes))
    found = faults(ended, 0, 1, 2)
    if ended.code == 0:
        found += litter(folder / "out")
    elif "memory" not in ended.err:
        found.append(f"another sentence: {ended.first!r}")
    if command != "train":
        found += _wrong(prepared, folder)
    ended_again = _ncsr(command, prepared.folder, folder) if ended.code else ended
    found += faults(ended_again, 0) + litter(folder / "out")
    if command != "train":
        made = contents(folder / "out").keys()
        found += [f"lost: {name}" for name in prepared.pictures.keys() - made] + _wrong(prepared, folder)
    ending = "smaller tiles" if "going on with tiles" in ended.err else ("done", "some done", "refused")[ended.code % 3]
    return Outcome(f"{command}, {field} and {mebibytes} MiB", ending, found)


def _limit(field: str, mebibytes: int) -> Callable[[], None]:
    """What leaves a process so much more than it has."""

    def before() -> None:
        taken = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
        assert taken is not None
        limit = 1024 * int(taken[1]) + 2**20 * mebibytes
        resource.setrlimit(_LIMITS[field], (limit, limit))

    return before


def _wrong(prepared: _Prepared, folder: Path) -> list[str]:
    """A fault for each picture that is not, to two levels, the one in one piece."""
    found = []
    for name in contents(folder / "out") if (folder / "out").is_dir() else ():
        if name in prepared.pictures:
            made, whole = (np.asarray(Image.open(place / "out" / name), int) for place in (folder, prepared.folder))
            if made.shape != whole.shape or abs(made - whole).max() > 2:
                found.append(f"wrong picture: {name}")
    return found


def _ncsr(command: str, prepared: Path, folder: Path, before: Callable[[], None] | None = None) -> Ended:
    on_cpu = ("-o", "out", "--device", "cpu")
    if command == "train":
        resume = ("--resume",) if any((folder / "out" / "checkpoints").glob("step-*")) else ()
        how = (prepared / "recipe.yaml", "--data", prepared / "data", *on_cpu, *resume)
        return run(folder, "train", *how, before=before)
    tile = ("--tile", 32) if command == "tiles" else ()
    how = (prepared / "photos", "-m", prepared / "model", "-n", 2, "--seed", 7, *on_cpu, *tile)
    return run(folder, "upscale", *how, before=before)


CAMPAIGN = Campaign("memory", 30, 3, prepare, trial)
