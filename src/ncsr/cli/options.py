"""Options that several commands have."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, TypeAlias, cast

import typer

from ncsr.cli.completion import model_names, names
from ncsr.errors import InputError, brief

if TYPE_CHECKING:
    from ncsr.model import NCSR
    from ncsr.runtime.device import Precision
    from ncsr.upscaling.final_size import FinalSize

ModelName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        help="Bundled name, model folder, .safetensors file or hub id (owner/name, owner/name@revision).",
        show_default="by scale, x4",
        autocompletion=model_names,
    ),
]
Scale: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "-s",
        "--scale",
        help="4 or 8: picks the bundled model, or is checked against -m.",
        autocompletion=names("4", "8"),
    ),
]
Samples: TypeAlias = Annotated[
    int, typer.Option("-n", "--samples", help="How many different images of each photograph.")
]
Tile: TypeAlias = Annotated[
    str, typer.Option(help="Side of the tiles in input pixels; auto chooses by the available memory.")
]
Consistent: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--consistent",
        help="Change every image as little as it takes for its reduction to be the photograph. JPEG, AVIF become PNG.",
    ),
]
Device: TypeAlias = Annotated[
    str, typer.Option(help="auto, cpu, cuda, mps, ...", autocompletion=names("auto", "cpu", "cuda", "mps"))
]
PrecisionName: TypeAlias = Annotated[
    str,
    typer.Option(
        "--precision",
        help="auto, float32, tf32 or bfloat16.",
        autocompletion=names("auto", "float32", "tf32", "bfloat16"),
    ),
]
Recursive: TypeAlias = Annotated[
    bool, typer.Option("-r", "--recursive", help="Also search folders inside folders; OUTPUT gets the same folders.")
]
SkipExisting: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--skip-existing",
        help="Keep a manifest of finished photographs, and leave out those finished before with the same settings.",
    ),
]
MaxPixels: TypeAlias = Annotated[
    int, typer.Option(help="Refuse photographs of more pixels, except TIFF files that can be read in parts.")
]
RayAddress: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="[ADDRESS]",
        help="Let the workers of a Ray cluster do it: HOST:PORT, or auto for the cluster of this machine; "
        "local, or no value, starts workers here.",
    ),
]

AllowIncomplete: TypeAlias = Annotated[
    bool,
    typer.Option("--allow-incomplete", help="Also take JPEG files whose data end early; the missing part is gray."),
]

FactorOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--factor",
        help="How many times as large, 3 or 2.5 for example: enlarged by 4 or 8, then reduced by bicubic.",
        show_default="the scale",
    ),
]
SizeOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="WxH",
        help="Final size in pixels: 1600x, x1200 or 1600x1200. Enlarged by 4 or 8, then reduced by bicubic.",
        show_default="scale times the photograph's",
    ),
]

Inputs: TypeAlias = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT", help="Photographs, or folders of them; - for one from standard input.", show_default=False
    ),
]
Output: TypeAlias = Annotated[
    str,
    typer.Option(
        "-o",
        "--output",
        help="Folder for the results; for a single photograph also a file name, or - for one image to standard output.",
    ),
]
Temperature: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "-t",
        "--temperature",
        help="Variety: 0 gives one smooth image, higher more detail and more invention.",
        show_default="the model's",
    ),
]
Seed: TypeAlias = Annotated[
    int | None,
    typer.Option("--seed", help="Makes the samples repeatable.", show_default="a fresh one, printed"),
]
Sheet: TypeAlias = Annotated[bool, typer.Option("--sheet", help="Also write a contact sheet of all of them.")]
Deviation: TypeAlias = Annotated[
    bool, typer.Option("--std", help="Also write where the samples differ, the standard-deviation map.")
]
DeviationFormat: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--std-format",
        metavar="png|tiff|npy",
        help="Format of that map; implies --std. png is gray, with white for 32 levels of 255 or more; tiff and npy "
        "hold the deviation itself in float32, 1 being the whole range from black to white.",
        show_default="png",
        autocompletion=names("png", "tiff", "npy"),
    ),
]
Format: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="png|jpg|webp|tiff|avif|jxl",
        help="Format of the results.",
        show_default="the photograph's, or png if ncsr does not write that",
        autocompletion=names("png", "jpg", "webp", "tiff", "avif", "jxl"),
    ),
]
Quality: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--quality",
        min=1,
        max=100,
        help="Quality of jpg and avif (95 if not given), webp and jxl (lossless if not given; jxl at 100, too). "
        "png, tiff and bmp have none.",
        show_default=False,
    ),
]
Page: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--page",
        metavar="N|all",
        help="Page of TIFF files, or frame of GIF, PNG, WebP and AVIF; all makes photo_p1, photo_p2, ... of each.",
        show_default="the first, with a note if there are more",
    ),
]
Strip: TypeAlias = Annotated[
    bool, typer.Option("--strip", help="Leave out EXIF, XMP, texts, resolution, colour profile and provenance.")
]
Sidecar: TypeAlias = Annotated[
    bool, typer.Option("--sidecar", help="Also write each image's provenance beside it, as IMAGE.json.")
]
Quiet: TypeAlias = Annotated[bool, typer.Option("-q", "--quiet", help="Print only errors to standard error.")]
Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print a line of JSON to standard output for every image and every failure.")
]

MAX_PIXELS = 178_956_970  # equals `ncsr.images.MAX_PIXELS`, whose import would import PyTorch


def load_model(model: str | None, scale: int | None, device: str, precision: str) -> NCSR:
    """The model that -m, -s, --device and --precision ask for."""
    from ncsr.pretrained.load import load_for

    return load_for(model, scale, device, cast("Precision", precision))


def parse_tile(text: str) -> int | None:
    """The side that --tile asks for; None for auto."""
    if text == "auto":
        return None
    if not text.removeprefix("-").isdecimal():
        raise InputError(f"--tile must be auto or a number of input pixels, got {text!r}")
    return int(text)


def parse_final_size(size: str | None, factor: float | None) -> FinalSize | None:
    """The size that --size or --factor asks for, if one does."""
    from ncsr.upscaling.final_size import FinalSize

    if size is None:
        return None if factor is None else FinalSize(factor)
    if factor is not None:
        raise InputError("--size and --factor both say how large the results are to be: give one")
    found = re.fullmatch(r"(\d{0,7})x(\d{0,7})", size)
    if found is None or size == "x":
        raise InputError(f"--size takes WIDTHxHEIGHT in pixels, one of which may be left out, got {brief(size)}")
    return FinalSize(None, *(int(side) if side else None for side in found.groups()))


def check_arguments(arguments: list[str]) -> None:
    """Raise InputError if an argument is empty: as a path it would mean the current folder."""
    for before, argument in zip(["ncsr", *arguments], arguments, strict=False):
        if not argument or re.fullmatch("--[a-z-]+=", argument):
            raise InputError(
                f"the argument behind {argument[:-1] or before} is empty: give a name there, or leave it out"
            )


def with_address(arguments: list[str]) -> list[str]:
    """The arguments with `--ray` alone replaced by `--ray local`, since Typer has no options with optional values."""
    filled = []
    for argument, following in zip(arguments, [*arguments, "-"][1:], strict=True):
        filled += [argument, "local"] if argument == "--ray" and following.startswith("-") else [argument]
    return filled
