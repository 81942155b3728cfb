"""`ncsr plan`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ncsr.cli.options import (
    MAX_PIXELS,
    AllowIncomplete,
    Consistent,
    Device,
    FactorOption,
    Format,
    MaxPixels,
    ModelName,
    Page,
    PrecisionName,
    Quality,
    Recursive,
    Samples,
    Scale,
    SizeOption,
    Temperature,
    Tile,
    load_model,
    parse_final_size,
    parse_tile,
)
from ncsr.errors import InputError, printable

if TYPE_CHECKING:
    from ncsr.upscaling.estimate import Estimate


def plan(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT", help="Photographs, or folders of them.", show_default=False)
    ],
    model: ModelName = None,
    scale: Scale = None,
    factor: FactorOption = None,
    size: SizeOption = None,
    samples: Samples = 4,
    temperature: Temperature = None,
    tile: Tile = "auto",
    consistent: Consistent = False,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    form: Format = None,
    quality: Quality = None,
    page: Page = None,
    recursive: Recursive = False,
    max_pixels: MaxPixels = MAX_PIXELS,
    allow_incomplete: AllowIncomplete = False,
) -> None:
    """Estimate what `ncsr upscale` would take: tiles, memory, room on disk, and time, by trying it on a small part.

    Options are those of upscale. A contact sheet (--sheet) or a map (--std) takes a little more.
    """
    from ncsr.cli.forms import check_quality_used, parse_format, parse_page
    from ncsr.images import open_photo
    from ncsr.images.writing import QUALITY_SUFFIXES
    from ncsr.pretrained.load import scale_for
    from ncsr.runtime.memory import available
    from ncsr.runtime.timing import duration
    from ncsr.space.checks import check_sampling
    from ncsr.upscaling.estimate import estimate
    from ncsr.upscaling.job import error_message
    from ncsr.upscaling.tiling import SampleRequest

    check_sampling(samples, 0.0 if temperature is None else temperature, 0)
    final, number = parse_final_size(size, factor), parse_page(page)
    planned, pages, failures = _planned(inputs, consistent, recursive, parse_format(form), all_pages=page == "all")
    check_quality_used(quality, [target for _, target in planned], consistent)
    network = load_model(model, scale_for(model, scale, factor), device, precision)
    if final is not None:
        final.check(network.config.scale, consistent)
    temperature = network.config.temperature if temperature is None else temperature
    samples = 1 if temperature == 0 else samples
    request = SampleRequest(samples, temperature, 0, parse_tile(tile), consistent)
    seconds = []
    for path, target in planned:
        shown = pages.get(target, number)
        try:
            source = open_photo(path, max_pixels=max_pixels, allow_incomplete=allow_incomplete, page=shown)
            reduced = None if final is None else final.of(source.size, network.config.scale)
            used = quality if target.suffix.lower() in QUALITY_SUFFIXES else None
            expected = estimate(source, network, request, target.suffix, reduced, used)
        except (InputError, MemoryError) as error:
            failures.append(error_message(path, path, error))
            continue
        seconds.append(expected.seconds)
        of_page = "" if shown is None else f", page {shown}"
        (height, width), times = source.size, network.config.scale
        images = "1 image" if samples == 1 else f"{samples} images"
        new_height, new_width = reduced or (times * height, times * width)
        how = "" if reduced is None else f" (enlarged by {times}, then reduced)"
        print(f"{printable(str(path))}{of_page}: {width} x {height} -> {new_width} x {new_height}{how}, {images}")
        _print_estimate(expected, available(network.device))
    if len(seconds) > 1:
        print(f"all {len(seconds)}: {duration(sum(seconds))}")
    for failure in failures:
        print(f"ncsr: {printable(failure)}", file=sys.stderr)
    if failures:
        raise typer.Exit(1 if seconds else 2)


def _planned(
    inputs: Sequence[str], consistent: bool, recursive: bool, suffix: str | None, *, all_pages: bool
) -> tuple[list[tuple[Path, Path]], Mapping[Any, int], list[str]]:
    """The photographs with the names of their results, pages by result, and sentences about unusable inputs."""
    from ncsr.runtime.remote import Remote, parse_location
    from ncsr.upscaling.paths import plan_results, with_pages

    locations = [parse_location(text) for text in inputs]
    for location in locations:
        if isinstance(location, Remote):
            raise InputError(f"{location} is a URL: plan is for files of this machine")
    found, failures, _ = plan_results(
        locations, Path(os.devnull), consistent=consistent, recursive=recursive, form=suffix
    )
    found, pages = with_pages(found) if all_pages else (found, {})
    planned = [(path, target) for path, target in found if isinstance(path, Path) and isinstance(target, Path)]
    return planned, pages, failures


def _print_estimate(expected: Estimate, free: int) -> None:
    from ncsr.runtime.timing import duration

    tiles = f"{expected.tiles} of {expected.side} x {expected.side} input pixels"
    print(f"  tiles   {'in one piece' if expected.tiles == 1 else tiles}")
    print(f"  memory  {_size(expected.memory)}")
    if expected.scratch:
        print(f"  scratch {_size(expected.scratch)}")
    print(f"  time    {duration(expected.seconds)}")
    if expected.memory > free:
        print(f"  that is more than the {_size(free)} that are free")


def _size(size: int) -> str:
    return f"{size / 2**20:.0f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"
