"""Hostile names: photographs beside them are done, and no name changes the terminal or a table."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

from benchmarks.campaign.child import faults, run
from benchmarks.campaign.inputs import contents, litter, make_model, make_photo, make_recipe
from benchmarks.campaign.trial import Campaign, Outcome, Random

_NAMES: tuple[bytes, ...] = (
    *(b"n" * length + b".png" for length in (200, 235, 243, 247, 251)),
    "ü".encode() * 125 + b".png",
    b"caf\xe9.png",
    b"\xff\xfe.png",
    b"a\x1b[31mred\x1b[0m.png",
    b"line\nbreak.png",
    b"carriage\rreturn.png",
    b"tab\tbell\x07.png",
    b"-o.png",
    b"--help.png",
    b"=1+1.png",
    b"@sum.png",
    b"<b>&amp;'\".png",
    b"%s%d{0}.png",
    b"[red]rich[/red].png",
    b"`x` | y.png",
    b" space .png",
    b".png",
    b"..png",
    "\u202egnp.exe".encode() + b".png",
    "\ud7ff\u0000".replace("\0", "").encode() + b".png",
    b"photo_s0.png",
    b"C:\\x.png",
    b"s3:x.png",
)


def prepare(folder: Path) -> Path:
    make_model(folder / "model")
    make_recipe(folder / "recipe.yaml", steps=1)
    make_photo(folder / "photo.png", 64, 64)
    return folder


def trial(prepared: Path, index: int, random: Random, folder: Path) -> Outcome:
    name = os.fsdecode(_NAMES[index // 4 % len(_NAMES)])
    command = ("upscale", "folder", "measure", "train")[index % 4]
    photos = folder / "photos"
    photos.mkdir()
    try:
        for path in (photos / name, photos / "whole.png"):
            shutil.copy(prepared / "photo.png", path)
        if random.random() < 0.3:
            (photos / "loop.png").symlink_to("loop.png")
            (photos / "back").symlink_to(".")
    except OSError as error:
        return Outcome(ascii(name), f"no such name here ({error.strerror})")
    own = ("-m", prepared / "model", "-o", "out", "-t", 0, "--device", "cpu")
    more = ("-r",) if random.random() < 0.5 else ()
    arguments: tuple[object, ...] = {
        "upscale": ("upscale", *own, f"photos/{name}", "photos/whole.png"),
        "folder": ("upscale", "photos", *own, *more),
        "measure": ("measure", "--hr", "photos", "--sr", "photos", "--scale", 4, "-o", "out"),
        "train": ("train", prepared / "recipe.yaml", "--data", "photos", "-o", "out", "--device", "cpu"),
    }[command]
    ended = run(folder, *arguments)
    codes = (0,) if command == "train" else (0, 1, 2) if command == "measure" else (0, 1)
    found = [fault for fault in faults(ended, *codes) if not (command == "train" and fault.startswith("control codes"))]
    found += [] if name.startswith(".") else litter(folder / "out")
    made = contents(folder / "out")
    if command in ("upscale", "folder") and "whole.png" not in made:
        found.append(f"lost: whole.png is not among {list(made)}")
    if command == "measure" and ended.code != 2:
        found += _cells(made)
    return Outcome(f"{command} {name!a:.60}", f"{command} {ended.code}", found)


def _cells(made: dict[str, bytes]) -> list[str]:
    """Faults of the tables of a report."""
    found = []
    for path in (path for path in made if path.endswith(".csv")):
        rows = list(csv.reader(made[path].decode("utf-8", "surrogateescape").splitlines(keepends=True)))
        if len({len(row) for row in rows}) > 1:
            found.append(f"table: rows of {path} have {sorted({len(row) for row in rows})} cells")
        if any(cell[:1] in tuple("=@\t\r") for row in rows for cell in row if cell):
            found.append(f"table: {path} holds cells that spreadsheets take for formulas")
    for path in (path for path in made if path.endswith((".md", ".html"))):
        if b"<b>&amp;" in made[path]:
            found.append(f"table: {path} holds a name as HTML")
    return found


CAMPAIGN = Campaign("names", 4 * len(_NAMES), 4, prepare, trial)
