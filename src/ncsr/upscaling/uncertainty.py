"""Per-pixel statistics of the samples of a photograph of any size: `ncsr.uncertainty`."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from ncsr.images import source_of
from ncsr.model import NCSR
from ncsr.runtime.device import Precision
from ncsr.sampling.uncertainty import Uncertainty, measure_uncertainty
from ncsr.space.checks import check_sampling
from ncsr.upscaling.api import check_progress, open_model
from ncsr.upscaling.image import enlarge
from ncsr.upscaling.kinds import Picture, open_any
from ncsr.upscaling.provenance import provenance_of
from ncsr.upscaling.tile_size import choose_side
from ncsr.upscaling.tiling import SampleRequest, ignore_progress


def uncertainty(
    photo: Picture,
    model: str | os.PathLike[str] | NCSR | None = None,
    samples: int = 16,
    *,
    scale: int | None = None,
    temperature: float | None = None,
    seed: int | None = None,
    tile: int | None = None,
    consistent: bool = False,
    device: str = "auto",
    precision: Precision | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Uncertainty:
    """Per-pixel statistics of the samples of an enlarged photograph, computed in tiles as by `upscale`.

    The arguments are those of `upscale`, without `factor` and `size`; transparency is ignored. All samples are in
    memory, three bytes a value.

    Returns:
        The uncertainty of one image (C, s h, s w), C = 1 for a gray photograph, else 3.

    Raises:
        InputError: as `upscale`.
    """
    check_progress(progress)
    opened, photo_hash = open_any(photo)
    source = source_of(opened)
    network, name = open_model(model, scale, device, precision)
    temperature = network.config.temperature if temperature is None else temperature
    request = SampleRequest(samples, temperature, check_sampling(samples, temperature, seed), tile, consistent)
    side = choose_side(network, *source.size, tile)
    (made,) = enlarge([source], network, request, side, [np.uint16], progress=progress or ignore_progress)
    height, colours = made.canvas.shape[1], 1 if source.gray else 3
    origin = provenance_of(network, name, request).of(photo_hash, source.size, side)
    return measure_uncertainty((made.rows(k)(0, height)[:colours] for k in range(samples)), origin)
