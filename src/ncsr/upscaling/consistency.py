"""How consistent samples are with their photograph, and the nearest image whose reduction is the photograph."""

from __future__ import annotations

import math
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from ncsr.images import Source, premultiplied, straight
from ncsr.ops.projection import Rows, apply_dual, solve_dual, strips
from ncsr.ops.resize_rows import resize_rows


class Consistency(NamedTuple):
    """What it took to make a sample consistent.

    Attributes:
        lr_psnr: of the result, in dB; infinity where it reduces to the photograph exactly.
        change: mean absolute change of the pixels, in grey levels of 255.
    """

    lr_psnr: float
    change: float


def lr_psnr(source: Source, rows: Rows, size: tuple[int, int], bits: int) -> float:
    """LR-PSNR of an image in dB: the PSNR between its reduction and the photograph; infinity where both are equal.

    Args:
        source: the photograph; colours are compared times alpha.
        rows: the rows of the image, read strip by strip.
        size: (H, W) of the image.
        bits: 8 or 16, of its values.
    """
    reduced = resize_rows(premultiplied_rows(rows, source.transparent), size, source.size, (1 << bits) - 1)
    (height, width), error = source.size, 0.0
    for first, last in strips(height, size[0] * size[1] * source.channels // height):
        colours = premultiplied(source.window(first, 0, last, width))[: 1 if source.gray else 3]
        wrong = reduced(first, last)[: len(colours)] - colours
        error += wrong.square().sum(dtype=torch.float64).item()
    return -10 * math.log10(error / (height * width * len(colours))) if error else math.inf


def premultiplied_rows(rows: Rows, transparent: bool) -> Rows:
    """The rows with colours multiplied by alpha, the last channel if `transparent`: what is to be reduced."""
    if not transparent:
        return rows

    def planes(first: int, last: int) -> Tensor:
        image = rows(first, last)
        return torch.cat((image[:-1] * image[-1:], image[-1:]))

    return planes


def straight_rows(planes: Tensor, transparent: bool) -> Tensor:
    """Undo `premultiplied_rows`: (C, rows, W) planes with their colours divided by alpha."""
    return torch.cat((straight(planes[:-1], planes[-1:]), planes[-1:])) if transparent else planes


class Projection:
    """Projects samples of a photograph onto the images whose reduction rounds to it.

    Colours are projected premultiplied, transparency by itself. The whole LR image is in memory for this, and a few
    strips of the enlarged one.

    Args:
        source: the photograph.
        scale: s.
        bits: 8 or 16, of the pixels that are written: the projected values are levels of so many bits.
    """

    def __init__(self, source: Source, scale: int, bits: int) -> None:
        self._source, self._scale, self.bits = source, scale, bits

    def project(self, drawn: Rows) -> Rows:
        """The rows of the projected sample, from those of the drawn one; `first` and `last` must be multiples of s.

        The problem is solved here. Only its solution, of the photograph's size, is kept; rows are computed when read.
        """
        planes, top = premultiplied_rows(drawn, self._source.transparent), (1 << self.bits) - 1
        projected = apply_dual(planes, solve_dual(planes, self._lr, self._scale, self.bits), self._scale)

        def rows(first: int, last: int) -> Tensor:
            return (straight_rows(projected(first, last), self._source.transparent) * top).round_().div_(top)

        return rows

    def measure(self, drawn: Rows, written: Rows) -> Consistency:
        """How consistent the pixels to be written are, and how much they differ from the drawn sample."""
        lr, scale, total = self._lr, self._scale, 0.0
        for first, last in strips(lr.shape[1], scale**2 * lr.numel() // lr.shape[1]):
            change = written(scale * first, scale * last) - drawn(scale * first, scale * last)
            total += change.abs().sum(dtype=torch.float64).item()
        psnr = lr_psnr(self._source, written, (scale * lr.shape[1], scale * lr.shape[2]), self.bits)
        return Consistency(psnr, 255 * total / (lr.numel() * scale**2))

    @cached_property
    def _lr(self) -> Tensor:
        """The photograph as the planes that are projected, (C, h, w): colours times alpha, and alpha."""
        photo = self._source.window(0, 0, *self._source.size)
        colours = premultiplied(photo)[: 1 if self._source.gray else 3]
        return colours if photo.alpha is None else torch.cat((colours, photo.alpha))
