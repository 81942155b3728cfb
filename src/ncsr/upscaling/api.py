"""One photograph in, several plausible ones out: `ncsr.upscale`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from numbers import Integral
from typing import Any, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ncsr.errors import InputError, brief
from ncsr.images import Photo, source_of, to_pil
from ncsr.model import NCSR
from ncsr.ops.projection import strips
from ncsr.pretrained.load import check_scale, default_model, load_for, scale_for
from ncsr.runtime.device import Precision
from ncsr.runtime.memory import explain_exhaustion
from ncsr.space.checks import check_sampling
from ncsr.upscaling.final_size import FinalSize
from ncsr.upscaling.image import Enlargement, enlarge
from ncsr.upscaling.kinds import File, Picture, array_like, open_any, pixel_type_like, tensor_like
from ncsr.upscaling.provenance import model_name, provenance_of
from ncsr.upscaling.tile_size import choose_side
from ncsr.upscaling.tiling import SampleRequest, ignore_progress

_Kind = TypeVar("_Kind")
_Level = TypeVar("_Level", bound=np.generic)


class Pictures(list[_Kind]):
    """The result of `upscale`: a list of pictures, one per sample.

    Attributes:
        seed: the seed they were drawn with; `upscale(..., seed=pictures.seed)` gives the same pictures.
    """

    def __init__(self, pictures: Iterable[_Kind], seed: int) -> None:
        super().__init__(pictures)
        self.seed = seed


@overload
def upscale(
    photo: File | Image.Image,
    model: str | os.PathLike[str] | NCSR | None = None,
    samples: int = 4,
    *,
    scale: int | None = None,
    factor: float | None = None,
    size: tuple[int | None, int | None] | None = None,
    temperature: float | None = None,
    seed: int | None = None,
    tile: int | None = None,
    consistent: bool = False,
    device: str = "auto",
    precision: Precision | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Pictures[Image.Image]: ...
@overload
def upscale(
    photo: NDArray[_Level],
    model: str | os.PathLike[str] | NCSR | None = None,
    samples: int = 4,
    *,
    scale: int | None = None,
    factor: float | None = None,
    size: tuple[int | None, int | None] | None = None,
    temperature: float | None = None,
    seed: int | None = None,
    tile: int | None = None,
    consistent: bool = False,
    device: str = "auto",
    precision: Precision | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Pictures[NDArray[_Level]]: ...
@overload
def upscale(
    photo: Tensor,
    model: str | os.PathLike[str] | NCSR | None = None,
    samples: int = 4,
    *,
    scale: int | None = None,
    factor: float | None = None,
    size: tuple[int | None, int | None] | None = None,
    temperature: float | None = None,
    seed: int | None = None,
    tile: int | None = None,
    consistent: bool = False,
    device: str = "auto",
    precision: Precision | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Pictures[Tensor]: ...
@explain_exhaustion("ask for fewer samples")
def upscale(
    photo: Picture,
    model: str | os.PathLike[str] | NCSR | None = None,
    samples: int = 4,
    *,
    scale: int | None = None,
    factor: float | None = None,
    size: tuple[int | None, int | None] | None = None,
    temperature: float | None = None,
    seed: int | None = None,
    tile: int | None = None,
    consistent: bool = False,
    device: str = "auto",
    precision: Precision | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Pictures[Any]:
    """Enlarge a photograph into several plausible ones.

    Args:
        photo: a path, the content of a file as bytes, or a file object in binary mode; a PIL image; an array (H, W) or
            (H, W, C) of uint8, uint16 or floating point in [0, 1]; or a tensor (C, H, W) of uint8 or floating point in
            [0, 1]. C is 3, 4 with alpha, 1 of gray, or 2 of gray with alpha.
        model: a loaded model, or what `ncsr.load` takes; None picks the bundled model for the scale.
        samples: how many.
        scale: 4 or 8: picks the bundled model, or is checked against the model given; None is 4.
        factor: enlargement of the results, from 1 to the scale, 2.5 for example: the model enlarges by its scale, then
            MATLAB's bicubic reduces. Without `model` and `scale`, a factor above 4 picks the bundled model of scale 8.
        size: (width, height) of the results in pixels, instead of `factor`; one of the two may be None.
        temperature: 0 is the model's single most probable image, higher is more varied; None is the model's default.
        seed: sample k of a seed is always the same image; None draws a fresh seed, which the result has as `seed`.
        tile: side of the tiles in LR pixels, at least 16; None chooses by memory.
        consistent: change each sample as little as it takes for its reduction to be the photograph.
        device: where to load the model; ignored if `model` is already loaded.
        precision: as `ncsr.load`, for a model that is not loaded yet; None is "auto".
        progress: called as progress(done, total), both counted in (tile, sample) pairs.

    Returns:
        A list of the samples, with their `seed`, of the kind that came in: arrays of the same dtype and layout, tensors
        of the same dtype on the same device, or PIL images (also for files).
        `info["ncsr"]` of a PIL image is its `Provenance` as JSON, also contained in `info["xmp"]`; its `save` writes
        this record into PNG, JPEG, WebP, AVIF and TIFF files.

    Warns:
        UserWarning: a file holds more than is used, such as further pages or frames.

    Raises:
        InputError: a photograph that cannot be read or is too small; a final size that is impossible; no memory for the
            smallest tile, or for the one asked for; whatever `ncsr.load` or `Space.sample` refuse.
        MemoryError: there is not enough memory for the photograph, the model or the samples.
    """
    check_progress(progress)
    source, photo_hash = open_any(photo, 4)  # warnings name the caller of `upscale`, above the decorator
    final = None if factor is None and size is None else FinalSize(factor, *_sides(size))
    network, name = open_model(model, scale_for(model, scale, factor), device, precision)
    if final is not None:
        final.check(network.config.scale, consistent)
    temperature = network.config.temperature if temperature is None else temperature
    seed = check_sampling(samples, temperature, seed)
    request = SampleRequest(samples, temperature, seed, tile, consistent)
    side = choose_side(network, *source.size, tile)
    reduced = None if final is None else final.of(source.size, network.config.scale)
    dtypes = [pixel_type_like(photo, source)]
    (made,) = enlarge(
        [source_of(source)], network, request, side, dtypes, size=reduced, progress=progress or ignore_progress
    )
    photos = _photos(made, source)
    if isinstance(photo, np.ndarray):
        return Pictures((array_like(each, photo) for each in photos), seed)
    if isinstance(photo, Tensor):
        return Pictures((tensor_like(each, photo) for each in photos), seed)
    origin = provenance_of(network, name, request).of(photo_hash, source.size, made.side, reduced)
    return Pictures((to_pil(each, origin.showing([k]).record()) for k, each in enumerate(photos)), seed)


def open_model(
    model: str | os.PathLike[str] | NCSR | None, scale: int | None, device: str, precision: Precision | None
) -> tuple[NCSR, str | None]:
    """The model, loaded if need be, and its name for provenance records; None for a model that was given loaded."""
    if not isinstance(model, NCSR):
        network = load_for(model, scale, device, precision or "auto")
        return network, model_name(default_model(network.config.scale) if model is None else model)
    if precision not in (None, model.precision):
        raise InputError(f"the model is loaded in precision {model.precision}: load it with precision={precision!r}")
    check_scale(scale, model, "that was given")
    return model, None


def check_progress(progress: object) -> None:
    """Raise InputError unless it is a function, or None."""
    if not callable(progress) and progress is not None:
        raise InputError(f"progress is a function of the work done and all of it, got {brief(progress)}")


def _sides(size: object) -> tuple[int | None, int | None]:
    """The width and the height of a final size."""
    if size is None:
        return None, None
    if (
        not isinstance(size, tuple | list)
        or len(size) != 2
        or any(not isinstance(side, Integral | None) or isinstance(side, bool) for side in size)
    ):
        raise InputError(f"size is (width, height) in whole pixels, either may be None, got {brief(size)}")
    width, height = (None if side is None else int(side) for side in size)
    return width, height


def upscale_photo(
    photo: Photo,
    model: NCSR,
    request: SampleRequest,
    side: int | None = None,
    size: tuple[int, int] | None = None,
) -> list[Photo]:
    """`upscale` for a `Photo`: gray, bit depth, profile and EXIF are kept, alpha is enlarged by bicubic.

    Args:
        photo: the photograph.
        model: in eval mode.
        request: which samples.
        side: of the tiles in LR pixels; None chooses it (`choose_side`).
        size: (H, W) that the samples are reduced to; None for all that the model gives.

    Raises:
        InputError: as `upscale`.
    """
    side = side or choose_side(model, *photo.size, request.tile)
    (made,) = enlarge([source_of(photo)], model, request, side, [np.float32], size=size)
    return _photos(made, photo)


def _photos(made: Enlargement, photo: Photo) -> list[Photo]:
    """The samples as photographs, with the metadata of the enlarged one."""
    shape = made.shape
    photos = []
    for k in range(made.canvas.shape[0]):
        rows, image = made.rows(k), torch.empty(shape[2], *shape[:2], device="cpu")
        for first, last in strips(shape[0], shape[1] * shape[2], 8):
            image[:, first:last] = rows(first, last)
        rgb = image[:3] if len(image) > 2 else image[:1].expand(3, -1, -1).contiguous()
        photos.append(replace(photo, rgb=rgb, alpha=None if photo.alpha is None else image[-1:]))
    return photos
