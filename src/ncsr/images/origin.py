"""The record of its origin that every written picture holds: for a sample, all that it takes to make it again."""

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
        picture: what it shows; a sample at temperature 0 is "most probable image".
        notice: a warning for whoever sees the picture; None if no model made any part of it.
        model: the name under which the model was opened, without folders; None for a model without a name. From here
            on, None also stands for what is not known or, in a picture of several, not the same for all; only model,
            model_hash and temperature list all values then.
        model_hash: `ncsr.serialization.fingerprint` of the model: 16 hexadecimal digits.
        scale: s.
        seed: of the samples; None at temperature 0, where it has no effect.
        samples: the indices of the samples shown: one, or all that a map or a sheet was made of.
        temperature: standard deviation of the latents.
        tile: side of the tiles in LR pixels; None for a photograph in one piece.
        consistent: whether each sample was changed so that its reduction is the photograph.
        precision: of the model's convolutions: float32, tf32 or bfloat16.
        device: the kind of device, as torch names it.
        photograph: SHA-256 of the photograph's file; None for one that came without a file.
        size: (W, H) that the model's image was reduced to by bicubic; None if it was not reduced.
        page: the page or frame of the photograph's file, if one was asked for.
        quality: the quality that the file was written with, if one was asked for.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", protected_namespaces=())

    ncsr: str  # comes first: `ncsr.images.exif` recognises a comment of this package by it
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
        """A copy with the facts about one photograph.

        Args:
            photograph: SHA-256 of its file; None without a file.
            size: (H, W) of the photograph.
            side: of the tiles, LR pixels.
            final: (H, W) that the samples are reduced to; None if they are not.
        """
        tile = None if side >= max(size) else side
        return self.model_copy(update={"photograph": photograph, "tile": tile, "size": final and [*final[::-1]]})

    def showing(self, samples: list[int]) -> Provenance:
        """A copy for a picture of these samples."""
        return self.model_copy(update={"samples": samples})

    def record(self) -> str:
        """The text that is written: JSON in ASCII."""
        # earlier versions refuse fields that they do not know, so these are written only where they are set
        without = {name for name in ("size", "page", "quality") if getattr(self, name) is None}
        return json.dumps(self.model_dump(exclude=without), separators=(",", ":"))


def plain(picture: Kind, **known: Any) -> Provenance:
    """The origin of a picture that shows nothing that a model made."""
    return Provenance(ncsr=version("ncsr"), picture=picture, notice=None, **known)


def together(origins: Iterable[Provenance], picture: Kind) -> Provenance:
    """The origin of a picture made of several: all their models, samples and temperatures.

    Other facts are None unless all share them. Origins of pictures that no model made do not count.
    """
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
