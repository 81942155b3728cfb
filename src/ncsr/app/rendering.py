"""From latents to pictures and back, tile by tile, so that a job can tell how far it is and be stopped in between."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ncsr.app.visits import Drawn
from ncsr.errors import InputError, SamplingError
from ncsr.latents import Latents
from ncsr.model import NCSR
from ncsr.space import Space
from ncsr.upscaling.tile_size import choose_side
from ncsr.upscaling.tiling import Tile, tiles

Event: TypeAlias = dict[str, Any]
"""What the page is told of a job: one of progress, picture, overlays, walk and so on."""


class Pace:
    """Tells how much of a job is done, and how long the rest will take.

    Args:
        total: parts of the job, each a tile of a picture.
    """

    def __init__(self, total: int) -> None:
        self._total, self._done, self._start = total, 0, time.monotonic()

    def step(self, what: str, parts: int = 1) -> Event:
        """The event that `parts` more are done of what is at work."""
        self._done += parts
        taken = time.monotonic() - self._start
        left = taken / self._done * (self._total - self._done) if self._done else None
        return {"event": "progress", "share": self._done / self._total, "left": left, "what": what}


@dataclass
class Canvas:
    """One photograph and one model: what its pictures are rendered by.

    Attributes:
        model: in eval mode.
        lr: (1, 3, h, w) in [0, 1].
        tiles: what is computed at a time.
    """

    model: NCSR
    lr: Tensor
    tiles: list[Tile]
    _only: Space | None = None

    @classmethod
    def of(cls, model: NCSR, lr: Tensor) -> Canvas:
        """The canvas of a photograph, in tiles that fit into memory."""
        height, width = lr.shape[-2:]
        return cls(model, lr, list(tiles(height, width, choose_side(model, height, width, None))))

    @property
    def scale(self) -> int:
        """How many HR pixels a pixel's side becomes."""
        return self.model.config.scale

    def space(self, tile: Tile) -> Space:
        """The space of a tile; that of a photograph of one tile is kept."""
        if self._only is not None:
            return self._only
        top, left, bottom, right = tile.window
        space = self.model.space(self.lr[..., top:bottom, left:right], origin=(top, left))
        if len(self.tiles) == 1:
            self._only = space
        return space

    def latents(self, source: Drawn | Latents | None) -> Latents:
        """The latents of a whole picture.

        Raises:
            InputError: it has none.
        """
        if source is None:
            raise InputError("the bicubic picture is not of the model: choose a sample")
        if isinstance(source, Latents):
            return source
        space = self._only or self.model.training_space(self.lr)
        return space.latents(source.number + 1, source.seed, source.temperature).pick(source.number)

    @torch.no_grad()
    def render(self, source: Drawn | Latents, pace: Pace, what: str) -> Generator[Event, None, Tensor]:
        """Decode a picture into (3, s h, s w) in [0, 1]; yields progress.

        Raises:
            SamplingError: it is not finite.
        """
        height, width = (self.scale * side for side in self.lr.shape[-2:])
        image = torch.empty(3, height, width)
        for tile in self.tiles:
            space = self.space(tile)
            if isinstance(source, Drawn):
                window = space.draw([source.number], source.temperature, source.seed)[0, 0]
            else:
                window = space.render(self.cut(source, tile), clamp=False)[0, 0]
            y, x = self.scale * tile.top, self.scale * tile.left
            part = tile.crop(window, self.scale)
            image[:, y : y + part.shape[-2], x : x + part.shape[-1]] = part
            yield pace.step(what)
        if not bool(image.isfinite().all()):
            raise SamplingError("this picture is not finite: lower the temperature, or draw again with another seed")
        return image.clamp_(0, 1)

    @torch.no_grad()
    def encode(self, hr: Tensor, pace: Pace, what: str) -> Generator[Event, None, Latents]:
        """The latents of an HR image (1, 3, s h, s w); yields progress."""
        whole: list[Tensor] | None = None
        for tile in self.tiles:
            top, left, bottom, right = (self.scale * side for side in tile.window)
            found = self.space(tile).encode(hr[..., top:bottom, left:right])
            if whole is None:
                whole = [z.new_empty(1, z.shape[1], *self._cells(z, tile)) for z in found]
            for z, target in zip(found, whole, strict=True):
                cell = self._cell(target)
                y, x = self.scale * tile.top // cell, self.scale * tile.left // cell
                dy, dx = y - top // cell, x - left // cell
                bottom_cell = self.scale * (tile.bottom + tile.bottom % 2) // cell
                right_cell = self.scale * (tile.right + tile.right % 2) // cell
                target[..., y:bottom_cell, x:right_cell] = z[..., dy : dy + bottom_cell - y, dx : dx + right_cell - x]
            yield pace.step(what)
        assert whole is not None
        return Latents(tuple(whole), (1, self.lr.shape[-2], self.lr.shape[-1]), "encoded")

    def log_prob_map(self, hr: Tensor, pace: Pace, what: str) -> Generator[Event, None, Tensor]:
        """`Space.log_prob_map` of an HR image (1, 3, s h, s w), (h, w); yields progress."""
        density = torch.empty(self.lr.shape[-2:])
        for tile in self.tiles:
            top, left, bottom, right = (self.scale * side for side in tile.window)
            window = self.space(tile).log_prob_map(hr[..., top:bottom, left:right])[0]
            density[tile.top : tile.bottom, tile.left : tile.right] = tile.crop(window, 1)
            yield pace.step(what)
        return density

    def cut(self, latents: Latents, tile: Tile) -> list[Tensor]:
        """The latents of a tile's window."""
        top, left, bottom, right = tile.window
        parts = []
        for z in latents:
            cell = self._cell(z)
            rows = slice(self.scale * top // cell, self.scale * (bottom + bottom % 2) // cell)
            columns = slice(self.scale * left // cell, self.scale * (right + right % 2) // cell)
            parts.append(z[..., rows, columns])
        return parts

    def _cell(self, z: Tensor) -> int:
        """HR pixels along the side of one cell of a whole picture's latent."""
        height = self.lr.shape[-2]
        return self.scale * (height + height % 2) // z.shape[-2]

    def _cells(self, z: Tensor, tile: Tile) -> tuple[int, int]:
        """The size of a whole picture's latent, from that of a tile's window."""
        top, _, bottom, _ = tile.window
        cell = self.scale * (bottom - top + (bottom - top) % 2) // z.shape[-2]
        height, width = (self.scale * (side + side % 2) // cell for side in self.lr.shape[-2:])
        return height, width
