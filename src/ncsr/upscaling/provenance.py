"""What every written picture says of its origin: all that it takes to make it again from the photograph."""

from __future__ import annotations

import hashlib
import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from ncsr.config import explain
from ncsr.errors import InputError
from ncsr.images import read_record
from ncsr.model import NCSR
from ncsr.runtime.files import read_small
from ncsr.runtime.parsing import parse_json
from ncsr.upscaling.image import sample_settings
from ncsr.upscaling.paths import Location
from ncsr.upscaling.tiling import SampleRequest

_LONGEST = 8000  # characters of a record
_CHUNK = 2**20  # bytes of a file that are hashed at a time

Temperature = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Provenance(BaseModel):
    """Where a picture comes from.

    Attributes:
        ncsr: the package's version.
        picture: what it is; at temperature 0 it is the model's most probable image.
        notice: what whoever sees the picture ought to know.
        model: the name under which the model was opened, without folders; None for a model without a name.
        model_hash: 16 hexadecimal digits that tell models apart by what they hold.
        scale: s.
        seed: of the samples; None at temperature 0, where it decides nothing.
        samples: the numbers of the samples that are seen: one, or all that a map or a sheet was made of.
        temperature: standard deviation of the latents; of a sheet maybe several.
        tile: side of the tiles in LR pixels; None for a photograph in one piece.
        consistent: whether each sample was changed for its reduction to be the photograph.
        precision: of the model's convolutions: float32, tf32 or bfloat16.
        device: the kind of device, as torch calls it.
        photograph: SHA-256 of the photograph's file; None for one that came without a file.
        size: (W, H) that the model's image was reduced to by bicubic; None for all of it.
        page: of the photograph's TIFF file, where one was asked for.
        quality: that it was written with, where one was asked for.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", protected_namespaces=())

    ncsr: str  # comes first: `ncsr.images.exif` tells by it whose comment it is
    picture: Literal[
        "sample", "changed sample", "most probable image", "standard deviation", "contact sheet", "part of a report"
    ]
    notice: str = "synthetic detail: not for identification"
    model: str | None
    model_hash: str
    scale: int
    seed: NonNegativeInt | None
    samples: list[NonNegativeInt]
    temperature: Temperature | list[Temperature]
    tile: int | None
    consistent: bool
    precision: str
    device: str
    photograph: str | None
    size: Annotated[list[PositiveInt], Field(min_length=2, max_length=2)] | None = None
    page: PositiveInt | None = None
    quality: Annotated[int, Field(ge=1, le=100)] | None = None

    def of(
        self, photograph: str | None, size: tuple[int, int], side: int, final: tuple[int, int] | None = None
    ) -> Provenance:
        """The same of a photograph of (H, W) = `size` whose file has this hash, in tiles of this side, then reduced."""
        tile = None if side >= max(size) else side
        return self.model_copy(update={"photograph": photograph, "tile": tile, "size": final and [*final[::-1]]})

    def showing(self, samples: list[int]) -> Provenance:
        """The same of these samples."""
        return self.model_copy(update={"samples": samples})

    def record(self) -> str:
        """The text that is written: JSON in ASCII."""
        # without them as records of earlier versions, which do not know them
        without = {name for name in ("size", "page", "quality") if getattr(self, name) is None}
        return json.dumps(self.model_dump(exclude=without), separators=(",", ":"))


def provenance(path: str | os.PathLike[str]) -> Provenance | None:
    """Read where a picture of `ncsr upscale` comes from: out of the picture or, if it says nothing, its sidecar.

    Args:
        path: a picture, or a sidecar (`.json`) itself.

    Returns:
        What it says of its origin; None if it says nothing.

    Raises:
        InputError: no such file, a damaged one, or a record that makes no sense.
    """
    path = Path(path)
    sidecar = path if path.suffix == ".json" else sidecar_path(path)
    text = None if path == sidecar or path.suffix == ".npy" else read_record(path)
    if text is None:
        if not sidecar.is_file() and path != sidecar:
            return None
        text, path = read_small(sidecar, _LONGEST).decode(errors="replace"), sidecar
    try:
        if len(text) > _LONGEST:
            raise ValueError(f"it is longer than {_LONGEST} characters")
        return Provenance.model_validate(parse_json(text))
    except ValidationError as error:
        reason = explain(error, Provenance)
    except ValueError as error:
        reason = str(error)
    raise InputError(f"{path}: what is written in it about its origin cannot be used: {reason}")


def provenance_of(model: NCSR, name: str | None, request: SampleRequest) -> Provenance:
    """What is the same for all pictures of a request, made of photographs in one piece that came without a file."""
    settings = sample_settings(model, request)
    return Provenance(
        ncsr=version("ncsr"),
        picture="sample" if request.temperature else "most probable image",
        model=name,
        model_hash=settings["model"],
        scale=model.config.scale,
        seed=int(request.seed) if request.temperature else None,
        samples=[*range(request.first, request.first + request.samples)],
        temperature=float(request.temperature),
        tile=None,
        consistent=bool(request.consistent),
        precision=settings["precision"],
        device=settings["device"],
        photograph=None,
    )


def model_name(model: str | os.PathLike[str]) -> str:
    """What is told of the name under which a model is opened: not in which folders of whose machine it lies."""
    name = Path(model).name if os.path.exists(model) else os.fspath(model)
    return name.encode("utf-8", "replace").decode()


def sidecar_path(picture: Location) -> Location:
    """The file beside a picture that says where it comes from."""
    return picture.with_name(f"{picture.name}.json")


def file_hash(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal.

    Raises:
        InputError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    return digest.hexdigest()
