"""Making a finished sample consistent: the nearest image of its canvas whose reduction is the photograph."""

from __future__ import annotations

import math
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ncsr.images import Source, premultiplied, straight
from ncsr.ops.projection import moved, reduced, solve, strips
from ncsr.upscaling.canvas import Canvas
from ncsr.upscaling.resume_log import ResumeLog


class Consistency(NamedTuple):
    """What it took to make a sample consistent.

    Attributes:
        lr_psnr: of the result, in dB; infinity where it reduces to the photograph exactly.
        change: mean absolute change of the pixels, in grey levels of 255.
    """

    lr_psnr: float
    change: float


def make_consistent(
    source: Source, scale: int, canvas: Canvas, k: int, bits: Literal[8, 16], journal: ResumeLog, lag: int = 0
) -> Consistency:
    """Project image k + lag into the place of image k; its pixels become levels of so many bits.

    With a lag of 1, samples in order, what a sample is made of is there until it is finished: it can be begun again.

    Colours are projected premultiplied, transparency by itself. The whole LR image is in memory for this, and a few
    strips of the enlarged one.

    Args:
        source: the photograph.
        scale: s.
        canvas: of uint16 or float32.
        k: the image.
        bits: that its pixels will be written with.
        journal: remembers that this was done.
        lag: 0 projects the image where it is.
    """
    known = journal.finished(k)
    if known is not None:
        return Consistency(*known)
    photo = source.window(0, 0, *source.size)
    colours = premultiplied(photo)[:1] if source.gray else premultiplied(photo)
    lr = colours if photo.alpha is None else torch.cat((colours, photo.alpha))
    del photo
    top = 2**bits - 1

    def planes(index: int, first: int, last: int) -> Tensor:
        image = canvas.rows(index, first, last)
        return torch.cat((image[:-1] * image[-1:], image[-1:])) if source.transparent else image

    begun = partial(planes, k + lag)
    projected, total = moved(begun, solve(begun, lr, scale, bits), scale), 0.0
    for first, last in strips(lr, scale):
        old, new = canvas.rows(k + lag, scale * first, scale * last), projected(scale * first, scale * last)
        new = torch.cat((straight(new[:-1], new[-1:]), new[-1:])) if source.transparent else new
        new = (new * top).round_().div_(top)
        canvas.put(k, scale * first, 0, new)
        total += (new - old).abs().sum(dtype=torch.float64).item()
    wrong = reduced(partial(planes, k), lr, scale, top)[: len(colours)] - colours
    error = wrong.square().mean(dtype=torch.float64).item()
    pixels = len(lr) * lr[0].numel() * scale**2
    result = Consistency(-10 * math.log10(error) if error else math.inf, 255 * total / pixels)
    journal.add_finished(k, list(result))
    return result
