"""Where the samples of a photograph of any size agree: `ncsr.uncertainty`."""

from __future__ import annotations

import os

import numpy as np

from ncsr.images import source_of
from ncsr.model import NCSR
from ncsr.pretrained.load import load
from ncsr.sampling.uncertainty import Uncertainty, measure_uncertainty
from ncsr.space.checks import check_sampling
from ncsr.upscaling.image import enlarge
from ncsr.upscaling.kinds import Picture, open_any
from ncsr.upscaling.provenance import model_name, provenance_of
from ncsr.upscaling.tile_size import choose_side
from ncsr.upscaling.tiling import SampleRequest


def uncertainty(
    photo: Picture,
    model: str | os.PathLike[str] | NCSR = "x4",
    samples: int = 16,
    *,
    temperature: float | None = None,
    seed: int | None = None,
    tile: int | None = None,
    consistent: bool = False,
    device: str = "auto",
) -> Uncertainty:
    """Where the samples of an enlarged photograph agree and where they differ, in tiles as `upscale` has them.

    The arguments are those of `upscale`; transparency is left out. All samples are in memory, three bytes a value.

    Returns:
        The uncertainty of one image (C, s h, s w), C = 1 for a gray photograph, else 3.

    Raises:
        InputError: as `upscale`.
    """
    opened, photo_hash = open_any(photo)
    source = source_of(opened)
    network, name = (model, None) if isinstance(model, NCSR) else (load(model, device), model_name(model))
    temperature = network.config.temperature if temperature is None else temperature
    request = SampleRequest(samples, temperature, check_sampling(samples, temperature, seed), tile, consistent)
    side = choose_side(network, *source.size, tile)
    (made,) = enlarge([source], network, request, side, [np.uint16])
    height, colours = made.canvas.shape[1], 1 if source.gray else 3
    origin = provenance_of(network, name, request).of(photo_hash, source.size, side)
    return measure_uncertainty((made.rows(k)(0, height)[:colours] for k in range(samples)), origin)
