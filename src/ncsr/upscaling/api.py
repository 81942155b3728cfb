"""One photograph in, several plausible ones out: `ncsr.upscale`."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ncsr.images import Photo, photo_from_array, photo_from_pil, read_photo, source_of, to_array, to_pil
from ncsr.model import NCSR
from ncsr.ops.projection import strips
from ncsr.pretrained.load import load
from ncsr.runtime.memory import explain_exhaustion
from ncsr.space import check_sampling
from ncsr.upscaling.image import enlarge
from ncsr.upscaling.provenance import file_hash, model_name, provenance_of
from ncsr.upscaling.tile_size import choose_side
from ncsr.upscaling.tiling import SampleRequest

_Level = TypeVar("_Level", bound=np.generic)


@overload
def upscale(
    photo: str | os.PathLike[str] | Image.Image,
    model: str | os.PathLike[str] | NCSR = "x4",
    samples: int = 4,
    *,
    temperature: float | None = None,
    seed: int | None = None,
    tile: int | None = None,
    consistent: bool = False,
    device: str = "auto",
) -> list[Image.Image]: ...
@overload
def upscale(
    photo: NDArray[_Level],
    model: str | os.PathLike[str] | NCSR = "x4",
    samples: int = 4,
    *,
    temperature: float | None = None,
    seed: int | None = None,
    tile: int | None = None,
    consistent: bool = False,
    device: str = "auto",
) -> list[NDArray[_Level]]: ...
@explain_exhaustion("ask for fewer samples")
def upscale(
    photo: str | os.PathLike[str] | Image.Image | NDArray[Any],
    model: str | os.PathLike[str] | NCSR = "x4",
    samples: int = 4,
    *,
    temperature: float | None = None,
    seed: int | None = None,
    tile: int | None = None,
    consistent: bool = False,
    device: str = "auto",
) -> list[Image.Image] | list[NDArray[Any]]:
    """Enlarge a photograph into several plausible ones.

    Args:
        photo: a path, a PIL image, or an array (H, W) or (H, W, C) of uint8, uint16 or floating point in [0, 1].
        model: a loaded model, or what `ncsr.load` takes.
        samples: how many.
        temperature: 0 is the model's single most probable image, higher is more varied; None the model's default.
        seed: sample k of a seed is always the same image; None draws a fresh seed.
        tile: side of the tiles in LR pixels; None chooses by memory.
        consistent: change each sample as little as it takes for its reduction to be the photograph.
        device: where to load the model, if it is not loaded.

    Returns:
        The samples, of the kind that came in: arrays of the same dtype and layout, or PIL images (also for a path).
        `info["ncsr"]` of a PIL image is its `Provenance` as JSON, which `info["xmp"]` holds, too. Pillow writes neither
        unless it is told: `save(path, xmp=image.info["xmp"])` for JPEG and WebP, the text as `pnginfo` for PNG.

    Warns:
        UserWarning: a file has more than is taken, as further pages or frames.

    Raises:
        InputError: a photograph that cannot be read or is too small; no memory for the smallest tile, or for the one
            asked for; what `ncsr.load` or `Space.sample` refuse.
        MemoryError: there is not enough memory for the photograph, the model or the samples.
    """
    source = open_any(photo, 4)  # beyond the decorator
    network = model if isinstance(model, NCSR) else load(model, device)
    temperature = network.config.temperature if temperature is None else temperature
    seed = check_sampling(samples, temperature, seed)
    request = SampleRequest(samples, temperature, seed, tile, consistent)
    side = choose_side(network, *source.size, tile)
    photos = upscale_photo(source, network, request, side)
    if isinstance(photo, np.ndarray):
        return [to_array(p, photo.dtype, flat_gray=photo.ndim == 2) for p in photos]
    origin = provenance_of(network, None if isinstance(model, NCSR) else model_name(model), request)
    origin = origin.of(None if isinstance(photo, Image.Image) else file_hash(Path(photo)), source.size, side)
    return [to_pil(p, origin.showing([k]).record()) for k, p in enumerate(photos)]


def open_any(photo: str | os.PathLike[str] | Image.Image | NDArray[Any], stacklevel: int = 3) -> Photo:
    """The photograph that `upscale` was given; what is noteworthy of its file is a warning where `stacklevel` says."""
    if isinstance(photo, np.ndarray):
        return photo_from_array(photo)
    if isinstance(photo, Image.Image):
        return photo_from_pil(photo)
    read = read_photo(photo)
    for note in read.notes:
        warnings.warn(f"{os.fspath(photo)}: {note}", stacklevel=stacklevel)
    return read


def upscale_photo(photo: Photo, model: NCSR, request: SampleRequest, side: int | None = None) -> list[Photo]:
    """`upscale` for a `Photo`: gray, bit depth, profile and EXIF are kept, alpha is enlarged by bicubic.

    The side of the tiles is chosen (`choose_side`) unless it is given.
    """
    side = side or choose_side(model, *photo.size, request.tile)
    (enlargement,) = enlarge([source_of(photo)], model, request, side, [np.float32])
    shape = enlargement.shape
    photos = []
    for k in range(request.samples):
        rows, image = enlargement.rows(k), torch.empty(shape[2], *shape[:2])
        for first, last in strips(shape[0], shape[1] * shape[2], 8):
            image[:, first:last] = rows(first, last)
        rgb = image[:3] if len(image) > 2 else image[:1].expand(3, -1, -1).contiguous()
        photos.append(replace(photo, rgb=rgb, alpha=None if photo.alpha is None else image[-1:]))
    return photos
