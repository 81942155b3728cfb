"""Damaged images of every kind: enlarged or refused in one sentence; never enlarged where a part is known to lack."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from benchmarks.campaign.child import faults, run
from benchmarks.campaign.damage import damaged
from benchmarks.campaign.files import image_files, with_right_checksums
from benchmarks.campaign.inputs import contents, litter, make_model, make_photo, make_recipe
from benchmarks.campaign.trial import Campaign, Outcome, Random


class _Prepared(NamedTuple):
    model: Path
    recipe: Path
    files: list[tuple[str, str, bytes]]


def prepare(folder: Path) -> _Prepared:
    recipe = make_recipe(folder / "recipe.yaml", steps=1)
    return _Prepared(make_model(folder / "model"), recipe, image_files())


def trial(prepared: _Prepared, index: int, random: Random, folder: Path) -> Outcome:
    kind, suffix, whole = prepared.files[index % len(prepared.files)]
    damage, data = damaged(whole, random)
    repaired = suffix == ".png" and random.random() < 0.5
    data = with_right_checksums(data) if repaired else data
    if index % 5 == 4:
        return _trained(prepared, f"{kind}, {damage}, in training", suffix, data, folder)
    outcome, said = _enlarged(prepared, f"{kind}, {damage}", suffix, data, folder)
    # A PNG file has checksums, and of a truncated file something is missing
    detectable = damage == "truncated" or (suffix == ".png" and not repaired)
    if outcome.ending == "enlarged" and detectable and "ncsr: " not in said:
        (folder / "whole").mkdir()
        _enlarged(prepared, kind, suffix, whole, folder / "whole")
        if not np.array_equal(_result(folder, suffix), _result(folder / "whole", suffix)):
            outcome.faults.append("wrong picture: what is missing or changed went unnoticed")
    return outcome


def _enlarged(prepared: _Prepared, what: str, suffix: str, data: bytes, folder: Path) -> tuple[Outcome, str]:
    """By the command, and what it said; a file of a large picture is refused rather than enlarged."""
    photo = folder / f"photo{suffix}"
    photo.write_bytes(data)
    ended = run(
        folder,
        "upscale",
        photo.name,
        "-m",
        prepared.model,
        "-o",
        "out",
        "-t",
        0,
        "--max-pixels",
        20_000,
        "--device",
        "cpu",
    )
    found = faults(ended, 0, 2) + litter(folder)
    made = contents(folder / "out")
    if ended.code == 0:
        if list(made) != [f"photo{_written(suffix)}"]:
            found.append(f"lost: expected photo{_written(suffix)}, found {list(made)}")
        elif not found:
            _result(folder, suffix)
    elif made:
        found.append(f"half-written: {list(made)} after exit code {ended.code}")
    return Outcome(what, "enlarged" if ended.code == 0 else "refused", found), ended.err


def _trained(prepared: _Prepared, what: str, suffix: str, data: bytes, folder: Path) -> Outcome:
    """Training goes on without it, or with it."""
    make_photo(folder / "data" / "whole.png", 32, 24)
    (folder / "data" / f"photo{suffix}").write_bytes(data)
    ended = run(folder, "train", prepared.recipe, "--data", "data", "-o", "run", "--device", "cpu")
    left_out = any(f"photo{suffix}" in line for line in ended.err.splitlines())
    return Outcome(what, "left out" if left_out else "trained on", faults(ended, 0) + litter(folder))


def _result(folder: Path, suffix: str) -> Any:
    """The pixels of the result."""
    path = folder / "out" / f"photo{_written(suffix)}"
    if suffix == ".tif":
        return tifffile.imread(path)
    if suffix == ".jxl":
        return imagecodecs.jpegxl_decode(path.read_bytes())
    with Image.open(path) as image:
        return np.asarray(image)


def _written(suffix: str) -> str:
    """The suffix of the result: PNG for what is not written."""
    return ".png" if suffix in (".gif", ".heic", ".jp2") else suffix


CAMPAIGN = Campaign("images", 480, 8, prepare, trial)
