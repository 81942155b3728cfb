"""The provenance of pictures: made from a request and its model, and read back from files and sidecars."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

from pydantic import ValidationError

from ncsr.config import explain
from ncsr.errors import InputError
from ncsr.images import read_record
from ncsr.images.origin import Provenance
from ncsr.model import NCSR
from ncsr.runtime.files import read_small
from ncsr.runtime.parsing import parse_json
from ncsr.upscaling.image import sample_settings
from ncsr.upscaling.paths import Location
from ncsr.upscaling.tiling import SampleRequest

_LONGEST = 8000  # characters of a record


def provenance(path: str | os.PathLike[str]) -> Provenance | None:
    """Read where a picture comes from: the record in the picture or, without one, in its sidecar.

    Args:
        path: a picture, or a sidecar (`.json`) itself.

    Returns:
        The record; None if there is none.

    Raises:
        InputError: no such file, a damaged one, or a record that is not valid.
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
    """The provenance of a request's pictures; `Provenance.of` adds what depends on the photograph."""
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
    """The name of a model for records: of a path only its last part, so that no folders of a machine are revealed."""
    name = Path(model).name if os.path.exists(os.fspath(model).removesuffix(":encoder")) else os.fspath(model)
    return name.encode("utf-8", "replace").decode()


def sidecar_path(picture: Location) -> Location:
    """The file beside a picture that says where it comes from."""
    return picture.with_name(f"{picture.name}.json")
