"""Overlays: maps that the page shows on top of a visitor's pictures, made on request."""

from __future__ import annotations

import torch

from ncsr.app.maps import deviation, disagreement, heat, invented
from ncsr.app.visits import Drawn, Picture, Visit
from ncsr.images.png import encode_png

_ROWS = 256  # of pictures that are measured at a time


def overlay(visit: Visit, kind: str, name: str) -> bytes | None:
    """The PNG file of an overlay; None if the visitor's pictures do not have one of this kind.

    Args:
        visit: the visit.
        kind: `deviation` or `disagreement` of all samples, `invented` or `likelihood` of one picture.
        name: of that picture.

    Raises:
        InputError: there is no such picture.
    """
    picture = visit.picture(name)
    if kind == "likelihood":
        path = visit.file(f"{name}-likelihood.png")
        return None if path is None else path.read_bytes()
    samples, smooth = list[Picture](), None
    for other in [*visit.pictures.values()]:
        if isinstance(other.latents, Drawn):
            if other.latents.temperature:
                samples.append(other)
            else:
                smooth = other
    if kind == "invented":
        if smooth in (None, picture):
            return None
        values = invented(visit.pixels(picture), visit.pixels(smooth))
    elif kind in ("deviation", "disagreement") and len(samples) > 1:
        stack = torch.stack([torch.from_numpy(visit.pixels(sample)) for sample in samples]).permute(0, 3, 1, 2)
        measure = deviation if kind == "deviation" else disagreement
        values = torch.cat([measure(rows) for rows in stack.split(_ROWS, 2)])
    else:
        return None
    return encode_png(heat(values), None, None, None)
