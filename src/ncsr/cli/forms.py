"""Parsing and checking the options of `ncsr upscale` about files: format, quality, page, pipes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

import typer

from ncsr.cli.piping import Piped
from ncsr.errors import InputError, brief
from ncsr.images.writing import QUALITY_SUFFIXES, check_quality

_FORMATS = {"png": ".png", "jpg": ".jpg", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tif", "tif": ".tif"}
_FORMATS |= {"avif": ".avif", "jxl": ".jxl"}


def parse_format(text: str | None) -> str | None:
    """The suffix that --format asks for."""
    if text is None:
        return None
    suffix = _FORMATS.get(text.lower().removeprefix("."))
    if suffix is None:
        raise InputError(f"--format must be png, jpg, webp, tiff, avif or jxl, got {brief(text)}")
    return suffix


def parse_std_format(text: str | None) -> str:
    """The suffix that --std-format asks for."""
    suffix = {None: ".png", "png": ".png", "tiff": ".tif", "tif": ".tif", "npy": ".npy"}.get(text)
    if suffix is None:
        raise InputError(f"--std-format must be png, tiff or npy, got {brief(text)}")
    return suffix


def parse_page(text: str | None) -> int | None:
    """The number that --page gives; None for `all`, and without --page."""
    if text in (None, "all"):
        return None
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 2**31):
        raise InputError(f"--page must be all or a number from 1, got {brief(text)}")
    return int(text)


def check_quality_used(quality: int | None, results: Sequence[PurePath], consistent: bool) -> None:
    """Raise InputError for a quality if no result's format has one, or with --consistent, which it would undo."""
    check_quality(quality)
    if quality is None or not results:
        return
    if consistent:
        raise InputError("--quality would change what --consistent fits: leave one of them out")
    if not any(result.suffix.lower() in QUALITY_SUFFIXES for result in results):
        check_quality(quality, results[0].suffix)


def check_pipes(context: typer.Context, piped: Piped, samples: int, cannot: bool) -> int:
    """Check the options of a command that reads standard input or writes standard output.

    Args:
        context: of the command.
        piped: the arguments.
        samples: the value of -n.
        cannot: whether an option was given that does not work with pipes.

    Returns:
        How many samples to make: one on standard output, unless -n was given.

    Raises:
        InputError: an option does not work with pipes, or there would be several images on standard output.
    """
    if cannot:
        raise InputError("- goes with none of --json, --skip-existing, --ray and --page all: name files")
    if not piped.sends:
        return samples
    given = context.get_parameter_source("samples")
    if given is not None and given.name == "DEFAULT":
        samples = 1
    if samples != 1 or any(context.params[name] for name in ("sheet", "std", "std_format", "sidecar")):
        raise InputError("-o - is one image: leave out -n, --sheet, --std and --sidecar, or name a folder")
    return samples
