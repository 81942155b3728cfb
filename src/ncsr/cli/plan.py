"""`ncsr plan`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ncsr.cli.options import (
    MAX_PIXELS,
    AllowIncomplete,
    Consistent,
    Device,
    FactorOption,
    MaxPixels,
    ModelName,
    PrecisionName,
    Samples,
    Scale,
    SizeOption,
    Tile,
    load_model,
    parse_final_size,
    parse_tile,
)
from ncsr.errors import InputError, printable


def plan(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT", help="Photographs, or folders of them.", show_default=False)
    ],
    model: ModelName = None,
    scale: Scale = None,
    factor: FactorOption = None,
    size: SizeOption = None,
    samples: Samples = 4,
    tile: Tile = "auto",
    consistent: Consistent = False,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    max_pixels: MaxPixels = MAX_PIXELS,
    allow_incomplete: AllowIncomplete = False,
) -> None:
    """Estimate what `ncsr upscale` would take: tiles, memory, room on disk, and time, by trying it on a small part."""
    from ncsr.images import find_photos, open_photo
    from ncsr.pretrained.load import scale_for
    from ncsr.runtime.memory import available
    from ncsr.runtime.remote import Remote, parse_location
    from ncsr.runtime.timing import duration
    from ncsr.space import check_sampling
    from ncsr.upscaling.estimate import estimate
    from ncsr.upscaling.job import error_message
    from ncsr.upscaling.paths import result_suffix
    from ncsr.upscaling.tiling import SampleRequest

    check_sampling(samples, 0.0, 0)
    final = parse_final_size(size, factor)
    network = load_model(model, scale_for(model, scale, factor), device, precision)
    if final is not None:
        final.check(network.config.scale, consistent)
    request = SampleRequest(samples, network.config.temperature, 0, parse_tile(tile), consistent)
    photos: list[Path] = []
    for given in map(parse_location, inputs):
        if isinstance(given, Remote):
            raise InputError(f"{given} is a URL: plan is for files of this machine")
        photos += find_photos(given) if given.is_dir() else [given]
    seconds, failures = [], []
    for path in photos:
        try:
            source = open_photo(path, max_pixels=max_pixels, allow_incomplete=allow_incomplete)
            suffix = result_suffix(path.suffix, consistent)
            reduced = None if final is None else final.of(source.size, network.config.scale)
            expected = estimate(source, network, request, suffix, reduced)
        except (InputError, MemoryError) as error:
            failures.append(error_message(path, path, error))
            continue
        seconds.append(expected.seconds)
        (height, width), times = source.size, network.config.scale
        images = "1 image" if samples == 1 else f"{samples} images"
        new_height, new_width = reduced or (times * height, times * width)
        how = "" if reduced is None else f" (enlarged by {times}, then reduced)"
        print(f"{printable(str(path))}: {width} x {height} -> {new_width} x {new_height}{how}, {images}")
        tiles = f"{expected.tiles} of {expected.side} x {expected.side} input pixels"
        print(f"  tiles   {'in one piece' if expected.tiles == 1 else tiles}")
        print(f"  memory  {_size(expected.memory)}")
        if expected.scratch:
            print(f"  scratch {_size(expected.scratch)}")
        print(f"  time    {duration(expected.seconds)}")
        if expected.memory > (free := available(network.device)):
            print(f"  that is more than the {_size(free)} that are free")
    if len(seconds) > 1:
        print(f"all {len(seconds)}: {duration(sum(seconds))}")
    for failure in failures:
        print(f"ncsr: {printable(failure)}", file=sys.stderr)
    if failures:
        raise typer.Exit(1 if seconds else 2)


def _size(size: int) -> str:
    return f"{size / 2**20:.0f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"
