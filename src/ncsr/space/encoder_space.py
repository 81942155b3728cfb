"""The space of an encoder-only model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import count

import numpy as np
import torch
from torch import Tensor

from ncsr.encoder import Encoder, Noise
from ncsr.latents import NumberOrMap
from ncsr.sampling.latents import Window, draw_latent
from ncsr.space.base import Redraw, Space
from ncsr.space.checks import no_likelihood


class EncoderSpace(Space):
    """The space of an encoder-only model: one image, so all samples are equal.

    ESRGAN+ draws its noise by the seed at every temperature above 0, always of the same strength; at 0 it has none.
    """

    def prepare(self) -> None:
        _ = self._encoder if self._noisy else self._image

    def draw(
        self,
        samples: Sequence[int],
        temperature: NumberOrMap,
        seed: int,
        attempt: int = 0,
        redraw: Redraw | None = None,
    ) -> Tensor:
        if np.ndim(temperature):
            raise no_likelihood()
        if temperature and self._noisy:
            return torch.stack([self._super_resolve(self._noise(seed, k, attempt)) for k in samples])
        return self._image.repeat(len(samples), 1, 1, 1, 1)

    @property
    def _noisy(self) -> bool:
        return self.model.config.encoder.dense_block == "esrgan+"

    @cached_property
    def _encoder(self) -> Encoder:
        return self.model.folded().encoder

    @cached_property
    def _image(self) -> Tensor:
        return self._super_resolve(None)

    def _noise(self, seed: int, sample: int, attempt: int) -> Noise:
        """As latents are drawn: the same field for the whole image, whatever its tiles."""
        shape = (self.model.config.encoder.features, *self.lr.shape[-2:])
        window = Window(shape, self.origin, self.scale)
        return (draw_latent(window, (seed, sample, attempt, i)) for i in count())

    def _super_resolve(self, noise: Noise | None) -> Tensor:
        with torch.no_grad(), self.model.arithmetic(sampling=True):
            image: Tensor = self._encoder(self.lr, noise)
        return image.to(self.lr.dtype)
