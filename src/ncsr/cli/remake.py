"""`ncsr remake`."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from ncsr.cli.completion import model_names
from ncsr.cli.options import MAX_PIXELS, MaxPixels, load_model
from ncsr.errors import InputError, brief
from ncsr.runtime.progress import ProgressBar

if TYPE_CHECKING:
    from ncsr.images.origin import Provenance
    from ncsr.model import NCSR
    from ncsr.upscaling.remake import Comparison

_ROUNDING, _LOW_ROUNDING = 1, 8  # levels of 255 that samples differ by on other processors; JPEG and low precision


def remake(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An image of `ncsr upscale`, or its sidecar.")],
    photo: Annotated[Path, typer.Argument(metavar="LR", help="The photograph that it was made from.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Keep the image that is made; it has FILE's suffix.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "-m", "--model", help="Where the model is.", show_default="the bundled one", autocompletion=model_names
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda, mps, ...", show_default="FILE's, if it is here")
    ] = None,
    other_photo: Annotated[
        bool, typer.Option("--other-photo", help="Go on though LR is not the file that FILE was made from.")
    ] = False,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Make an image again from what it says of its origin, and compare.

    Exit code 0: all values are equal, or differ only by the rounding of another processor. 1: it is another picture.
    """
    from importlib.metadata import version

    from ncsr.upscaling.provenance import provenance
    from ncsr.upscaling.remake import check_single, compare
    from ncsr.upscaling.remake import remake as make_again

    picture = file.with_suffix("") if file.suffix == ".json" else file
    origin = provenance(file)
    if origin is None:
        raise InputError(
            f"{file} does not say where it comes from: it was not made by `ncsr upscale`, or with --strip, or changed "
            f"since; a sidecar would be {file.name}.json"
        )
    _, name = check_single(origin)
    if output is not None and output.suffix.lower() != picture.suffix.lower():
        raise InputError(f"-o {output}: to be compared, it needs the suffix of {picture.name}")
    if output is not None and os.path.realpath(output) in {os.path.realpath(each) for each in (picture, photo)}:
        raise InputError(f"-o {output} would replace an image that is read: choose another")
    if not other_photo:
        _check_photo(origin, file, photo)
    network = _model(origin, file, name, model, device)
    with TemporaryDirectory(prefix="ncsr-") as folder, ProgressBar(1) as bar:
        if origin.ncsr != version("ncsr"):
            bar.warn(f"{file} was made by ncsr {brief(origin.ncsr)}, this is {version('ncsr')}")
        if origin.device != network.device.type:
            bar.warn(f"{file} was made on {brief(origin.device)}, this is {network.device.type}")
        made = output or Path(folder, f"made{picture.suffix}")
        warn = (lambda _: None) if output is None else bar.warn  # of scratch folders, which go with the temporary one
        make_again(origin, photo, network, made, max_pixels=max_pixels, progress=bar.update_part, warn=warn)
        difference = compare(picture, made)
    same, verdict = _judge(origin, picture, difference)
    print(f"{picture}: {verdict}")
    if not same:
        raise typer.Exit(1)


def _check_photo(origin: Provenance, file: Path, photo: Path) -> None:
    from ncsr.runtime.files import file_hash

    if origin.photograph not in (None, found := file_hash(photo)):
        raise InputError(
            f"{photo} is not the photograph that {file} was made from: its SHA-256 is {found}, expected "
            f"{brief(origin.photograph)}; give that file, or go on with --other-photo"
        )


def _judge(origin: Provenance, picture: Path, difference: Comparison | None) -> tuple[bool, str]:
    """Whether the picture equals the one made again, apart from rounding, and the verdict in words."""
    from ncsr.images.writing import LOSSY_SUFFIXES

    if difference is None:
        return False, "another picture, of another size or kind"
    values, differing, largest, top = difference
    if not differing:
        return True, "equal to the bit"
    told = f"{differing} of {values} values differ, by at most {largest} of {top}"
    exact = origin.precision == "float32" and picture.suffix.lower() not in LOSSY_SUFFIXES and not origin.quality
    if largest * 255 <= (_ROUNDING if exact else _LOW_ROUNDING) * top:
        return True, f"equal but for rounding, as on another processor: {told}"
    return False, f"another picture: {told}"


def _model(origin: Provenance, file: Path, name: str | None, model: str | None, device: str | None) -> NCSR:
    """The model that an image was made by.

    Raises:
        InputError: it is not known where it is, or another one is there.
    """
    from ncsr.pretrained.load import bundled_models
    from ncsr.runtime.device import pick_device
    from ncsr.serialization import fingerprint

    wanted = f"{brief(name)} with the hash {brief(origin.model_hash)}"
    name = name if model is None else model
    if model is None and name not in bundled_models():  # whatever else a file names is not opened or fetched
        raise InputError(f"{file} was made by the model {wanted}, which does not come with ncsr: give it with -m")
    here = ("cpu", pick_device("auto").type)
    network = load_model(
        name, None, device or (origin.device if origin.device in here else "auto"), origin.precision or "auto"
    )
    if (found := fingerprint(network.config, network.state_dict())) != origin.model_hash:
        raise InputError(f"{file} was made by the model {wanted}, {brief(name)} has the hash {found}: give it with -m")
    return network
