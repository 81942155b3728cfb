"""`ncsr plan`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ncsr.cli.options import (
    Consistent,
    Device,
    MaxPixels,
    ModelName,
    PrecisionName,
    Samples,
    Scale,
    Tile,
    load_model,
    parse_tile,
)
from ncsr.errors import InputError
from ncsr.images import MAX_PIXELS, find_photos, open_photo
from ncsr.runtime.memory import available
from ncsr.runtime.remote import Remote, parse_location
from ncsr.runtime.timing import duration
from ncsr.space import check_sampling
from ncsr.upscaling.estimate import Plan
from ncsr.upscaling.estimate import plan as make_plan
from ncsr.upscaling.job import error_message
from ncsr.upscaling.tiling import SampleRequest


def plan(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT", help="Photographs, or folders of them.", show_default=False)
    ],
    model: ModelName = None,
    scale: Scale = None,
    samples: Samples = 4,
    tile: Tile = "auto",
    consistent: Consistent = False,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Warn what `ncsr upscale` would take: tiles, memory, room on disk, and time, by trying it on a small part."""
    check_sampling(samples, 0.0, 0)
    network = load_model(model, scale, device, precision)
    drawing = SampleRequest(samples, network.config.temperature, 0, parse_tile(tile))
    seconds, failures = [], []
    for path in _photographs(inputs):
        try:
            source = open_photo(path, max_pixels=max_pixels)
            suffix = ".png" if consistent and path.suffix.lower() in (".jpg", ".jpeg") else path.suffix
            made = make_plan(source, network, drawing, suffix, consistent=consistent)
        except InputError as error:
            failures.append(error_message(path, path, error))
            continue
        seconds.append(made.seconds)
        print("\n".join(_lines(path, source.size, network.config.scale, samples, made)))
        free = available(network.device)
        if made.memory > free:
            print(f"  that is more than the {_size(free)} that are free")
    if len(seconds) > 1:
        print(f"all {len(seconds)}: {duration(sum(seconds))}")
    for failure in failures:
        print(f"ncsr: {failure}", file=sys.stderr)
    if failures:
        raise typer.Exit(1 if seconds else 2)


def _photographs(inputs: Sequence[str]) -> list[Path]:
    """The files that are named, and those in the folders that are."""
    found: list[Path] = []
    for given in map(parse_location, inputs):
        if isinstance(given, Remote):
            raise InputError(f"{given} is a URL: plan is for files of this machine")
        found += find_photos(given) if given.is_dir() else [given]
    return found


def _lines(path: Path, size: tuple[int, int], scale: int, samples: int, made: Plan) -> list[str]:
    height, width = size
    images = "1 image" if samples == 1 else f"{samples} images"
    tiles = "in one piece" if made.tiles == 1 else f"{made.tiles} of {made.side} x {made.side} input pixels"
    lines = [
        f"{path}: {width} x {height} -> {scale * width} x {scale * height}, {images}",
        f"  tiles   {tiles}",
        f"  memory  {_size(made.memory)}",
        f"  scratch {_size(made.scratch)}",
        f"  time    {duration(made.seconds)}",
    ]
    return [line for line in lines if made.scratch or "scratch" not in line]


def _size(size: int) -> str:
    return f"{size / 2**20:.0f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"
