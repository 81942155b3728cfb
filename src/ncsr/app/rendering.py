"""From latents to pictures and back, tile by tile, so that a job can report progress and be stopped in between."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ncsr.app.visits import Drawn
from ncsr.errors import InputError, SamplingError
from ncsr.latents import Latents
from ncsr.model import NCSR
from ncsr.runtime.memory import available
from ncsr.space.base import Space
from ncsr.upscaling.tile_size import choose_side, tile_bytes
from ncsr.upscaling.tiling import Tile, tiles

Event: TypeAlias = dict[str, Any]
"""A message about a job for the page; "event" names its kind: progress, picture, walk, ..."""

_LARGEST = 128  # LR pixels along the side of a tile: larger ones are little faster, and a job ends only between tiles
_PREPARE = 6  # the time to prepare a tile's space (encoder, conditions), in units of the time to decode the tile
_CELL = 2  # LR pixels along the side of the largest cell of latents


class Pace:
    """Progress of a job: how much is done, and how long the rest will take.

    Args:
        total: parts of the job, each as long as decoding a tile.
    """

    def __init__(self, total: int) -> None:
        self._total, self._done, self._start = total, 0, time.monotonic()

    def step(self, what: str, parts: int = 1) -> Event:
        """Count `parts` as done; returns the progress event. `what` names the current work."""
        self._done += parts
        taken = time.monotonic() - self._start
        left = taken / self._done * (self._total - self._done)
        return {"event": "progress", "share": self._done / self._total, "left": left, "what": what}


@dataclass
class Renderer:
    """Renders the pictures of one photograph by one model.

    Attributes:
        model: in eval mode.
        lr: the photograph, (1, 3, h, w) in [0, 1].
        tiles: cover it; each is computed at once.
        keep: whether the spaces of all tiles are kept, so that the encoder runs only once per tile.
    """

    model: NCSR
    lr: Tensor
    tiles: list[Tile]
    keep: bool
    _spaces: dict[Tile, Space] = field(default_factory=dict)

    @classmethod
    def of(cls, model: NCSR, lr: Tensor) -> Renderer:
        """A renderer whose tiles fit into memory, and are small enough for a job to be stopped soon."""
        height, width = lr.shape[-2:]
        side = min(_LARGEST, choose_side(model, height, width, None))
        covering = list(tiles(height, width, side))
        low = model.low_precision(sampling=True)
        needed = tile_bytes(model.config, sum(tile.pixels for tile in covering), low)
        return cls(model, lr, covering, needed <= available(model.device) / 2)

    @property
    def scale(self) -> int:
        """How many HR pixels a pixel's side becomes."""
        return self.model.config.scale

    def space(self, tile: Tile) -> Space:
        """The space of a tile, ready to decode."""
        if tile not in self._spaces:
            if not self.keep:
                self._spaces.clear()  # before the next one takes memory
            self._spaces[tile] = self._new_space(tile)
            self._spaces[tile].prepare()
        return self._spaces[tile]

    def _new_space(self, tile: Tile) -> Space:
        top, left, bottom, right = tile.window
        return self.model.space(self.lr[..., top:bottom, left:right], origin=(top, left))

    def parts(self, pictures: int, area: Sequence[Tile] | None = None) -> int:
        """How many parts, for `Pace`, it takes to render the tiles in `area` (None: all) of so many pictures."""
        area = self.tiles if area is None else area
        new = [tile for tile in area if tile not in self._spaces]
        return pictures * len(area) + _PREPARE * len(new) * (1 if self.keep else pictures)

    def latents(self, source: Drawn | Path | None) -> Latents:
        """The latents of a whole picture, from `Picture.latents`.

        Raises:
            InputError: it has none, because the model did not make it.
        """
        if source is None:
            raise InputError("the bicubic picture is not of the model: choose a sample")
        if isinstance(source, Path):
            return Latents.load(source)
        space = self.model.training_space(self.lr)
        return space.latents(source.number + 1, source.seed, source.temperature).pick(source.number)

    def touched(self, mask: Tensor) -> list[Tile]:
        """The tiles that can change when the latents change where the mask (h, w) is not zero."""

        def can_change(tile: Tile) -> bool:
            top, left, bottom, right = tile.window
            return bool(mask[max(top - _CELL, 0) : bottom + _CELL, max(left - _CELL, 0) : right + _CELL].any())

        return [tile for tile in self.tiles if can_change(tile)]

    @torch.no_grad()
    def render(
        self,
        source: Drawn | Latents,
        pace: Pace,
        what: str,
        area: Sequence[Tile] | None = None,
        image: Tensor | None = None,
    ) -> Generator[Event, None, Tensor]:
        """Decode a picture into (3, s h, s w) in [0, 1]; yields progress.

        Args:
            source: what to decode.
            pace: counts the progress.
            what: names the picture in progress events.
            area: the tiles to decode; None decodes all.
            image: (3, s h, s w), the picture outside of `area`; it is overwritten.

        Raises:
            SamplingError: it is not finite.
        """
        height, width = (self.scale * side for side in self.lr.shape[-2:])
        image = torch.empty(3, height, width) if image is None else image
        for tile in self.tiles if area is None else area:
            if tile not in self._spaces:
                self.space(tile)
                yield pace.step(what, _PREPARE)
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
            found = self._new_space(tile).encode(hr[..., top:bottom, left:right])
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
            window = self._new_space(tile).log_prob_map(hr[..., top:bottom, left:right])[0]
            density[tile.top : tile.bottom, tile.left : tile.right] = tile.crop(window, 1)
            yield pace.step(what)
        return density

    def cut(self, latents: Latents, tile: Tile) -> list[Tensor]:
        """The part of a whole picture's latents that belongs to a tile's window."""
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
