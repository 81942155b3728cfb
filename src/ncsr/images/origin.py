"""What every written picture says of its origin: of a sample, all that it takes to make it again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.metadata import version
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

Temperature = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Kind = Literal[
    "sample",
    "changed sample",
    "most probable image",
    "standard deviation",
    "contact sheet",
    "part of a report",
    "grid",
    "walk",
    "likelihood map",
    "plot",
    "bicubic enlargement",
    "photograph",
]


class Provenance(BaseModel):
    """Where a picture comes from.

    Attributes:
        ncsr: the package's version.
        picture: what it is; at temperature 0 it is the model's most probable image.
        notice: what whoever sees the picture ought to know; None where it shows nothing that a model made.
        model: the name under which the model was opened, without folders; of a picture of several, all. None for a
            model without a name. Here and below, None is also what is not known, as of a grid of any images, or not
            the same for all that is seen.
        model_hash: 16 hexadecimal digits that tell models apart by what they hold; of several, all.
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
        page: or frame of the photograph's file, where one was asked for.
        quality: that it was written with, where one was asked for.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", protected_namespaces=())

    ncsr: str  # comes first: `ncsr.images.exif` tells by it whose comment it is
    picture: Kind
    notice: str | None = "synthetic detail: not for identification"
    model: str | list[str] | None = None
    model_hash: str | list[str] | None = None
    scale: int | None = None
    seed: NonNegativeInt | None = None
    samples: list[NonNegativeInt] = []
    temperature: Temperature | list[Temperature] | None = None
    tile: int | None = None
    consistent: bool | None = None
    precision: str | None = None
    device: str | None = None
    photograph: str | None = None
    size: Annotated[list[PositiveInt], Field(min_length=2, max_length=2)] | None = None
    page: PositiveInt | None = None
    quality: Annotated[int, Field(ge=1, le=100)] | None = None

    def of(
        self, photograph: str | None, size: tuple[int, int], side: int, final: tuple[int, int] | None = None
    ) -> Provenance:
        """A copy for one photograph.

        Args:
            photograph: SHA-256 of its file; None without a file.
            size: (H, W) of the photograph.
            side: of the tiles, LR pixels.
            final: (H, W) that the samples are reduced to; None for all of them.
        """
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


def plain(picture: Kind, **known: Any) -> Provenance:
    """The origin of a picture that shows nothing that a model made."""
    return Provenance(ncsr=version("ncsr"), picture=picture, notice=None, **known)


def together(origins: Iterable[Provenance], picture: Kind) -> Provenance:
    """The origin of a picture that shows several: all models, samples and temperatures; of the rest what is one."""
    made = [origin for origin in origins if origin.notice is not None]

    def all_of(name: str) -> list[Any]:
        values = [getattr(origin, name) for origin in made]
        single = [each for value in values for each in (value if isinstance(value, list) else [value])]
        return [*dict.fromkeys(each for each in single if each is not None)]

    told: dict[str, Any] = {"samples": sorted(all_of("samples"))}
    for name in ("model", "model_hash", "temperature"):
        values = all_of(name)
        told[name] = values if len(values) > 1 else next(iter(values), None)
    for name in ("scale", "seed", "tile", "consistent", "precision", "device", "photograph"):
        values = all_of(name)
        told[name] = values[0] if len(values) == 1 else None
    return Provenance(ncsr=version("ncsr"), picture=picture, **told) if made else plain(picture)
