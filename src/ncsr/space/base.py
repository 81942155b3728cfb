"""The interface of super-resolution spaces.

An odd side is padded by reflection on the right or bottom before the encoder. `sample` and `decode` crop; `encode`
and `log_prob` pad the HR image and the noise image the same way, by s pixels, and count those pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.metadata import version
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ncsr.errors import InputError
from ncsr.images.origin import Provenance
from ncsr.latents import Latents, NumberOrMap
from ncsr.networks import Networks
from ncsr.ops.projection import project
from ncsr.sampling.uncertainty import Uncertainty, measure_uncertainty
from ncsr.space.checks import ATTEMPTS, check_sampling, check_tensors, never_finite, no_likelihood

_TOGETHER = 4  # samples that are drawn at a time where not all are wanted at once


class Redraw(NamedTuple):
    """A part of images to be drawn again.

    Attributes:
        where: the mask of `Space.sample`.
        kept: the latents outside it, of one sample or of all.
    """

    where: NumberOrMap
    kept: Latents


class Space:
    """The super-resolution space of LR images. Every model's can sample and project.

    That of a flow also has densities and latents; without a flow these raise InputError.

    Attributes:
        lr: (B, 3, h, w), the LR images.
        origin: (top, left) of these LR pixels in the whole image.
        scale: s.
        training: whether the space is for training: densities are differentiated, and images may leave [0, 1].
        seed: the seed of the last `sample`, `latents` or `uncertainty`, given or fresh; None before the first. Threads
            that share a space should each give a seed, since any of them sets this.
    """

    training = False

    def __init__(self, model: Networks, lr: Tensor, origin: tuple[int, int]) -> None:
        self.model, self.lr, self.origin, self.scale = model, lr, origin, model.config.scale
        self.seed: int | None = None

    def __repr__(self) -> str:
        (batch, height, width), low = self._lr_shape, self.model.low_precision(sampling=True)
        precision = "bfloat16" if low else str(self.lr.dtype).removeprefix("torch.")
        images = "1 image" if batch == 1 else f"{batch} images"
        return f"{type(self).__name__}({images} of {width} x {height}, x{self.scale}, {precision})"

    def prepare(self) -> None:
        """Compute now what sampling needs of the LR images."""
        raise NotImplementedError

    def draw(
        self,
        samples: Sequence[int],
        temperature: NumberOrMap,
        seed: int,
        attempt: int = 0,
        redraw: Redraw | None = None,
    ) -> Tensor:
        """Draw samples, neither clamped nor checked to be finite.

        Args:
            samples: their numbers k among the samples of the seed.
            temperature: as of `sample`, but not None.
            seed: as of `sample`, but not None.
            attempt: 0 for the first draw of these samples; each further one has other latents.
            redraw: the part to be drawn again; None for all.

        Returns:
            (len(samples), B, 3, s h, s w).
        """
        raise NotImplementedError

    @torch.no_grad()
    def sample(
        self,
        n: int = 1,
        temperature: NumberOrMap | None = None,
        seed: int | None = None,
        *,
        clamp: bool = True,
        where: NumberOrMap | None = None,
        given: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Draw HR images, or draw a part of them again.

        Args:
            n: samples of each image. Sample k of a seed is the same whatever n and whatever else is in the batch.
            temperature: standard deviation of the latents; 0 is the most probable latent; None the model's default. A
                map, (h, w) or (B, h, w) of the LR images or the same of the HR images, has one for each pixel.
            seed: at least 0; None draws a fresh one, readable afterwards as `seed`, whatever `torch.manual_seed` was.
            clamp: to [0, 1]; False gives the images as the flow decodes them, whose latents `encode` gives back.
            where: a map like that of temperatures, from 0 to 1: latents are drawn where it is 1, those given are kept
                where it is 0, and in between lies `ncsr.latents.blend`.
            given: the latents to keep, of n samples or of one for all. Far from where something is drawn, on a CPU
                the images are those of `render(given)` to the bit.

        Returns:
            (n, B, 3, s h, s w). A sample that is not finite is drawn again, up to three times in all.

        Raises:
            InputError: n below 1, a negative temperature or seed; a map or latents that do not fit, or one of `where`
                and `given` without the other; maps for a model without a flow.
            SamplingError: a sample was not finite in every draw.
        """
        temperature, seed = self._sampling_values(n, temperature, seed)
        images = self._draw_finite(range(n), temperature, seed, self._redraw(n, where, given))
        return images.clamp_(0, 1) if clamp else images

    def _draw_finite(
        self, samples: Sequence[int], temperature: NumberOrMap, seed: int, redraw: Redraw | None = None
    ) -> Tensor:
        """`draw`, with what is not finite drawn again."""
        images = self.draw(samples, temperature, seed, 0, redraw)
        for attempt in range(1, ATTEMPTS + 1):
            bad = ~images.flatten(2).isfinite().all(-1)  # (n, B)
            again = bad.any(1).nonzero().flatten().tolist()
            if not again:
                return images
            if attempt < ATTEMPTS:
                redrawn = self.draw([samples[i] for i in again], temperature, seed, attempt, redraw)
                images[again] = torch.where(bad[again][:, :, None, None, None], redrawn, images[again])
        raise never_finite(samples[again[0]], temperature)

    @torch.no_grad()
    def uncertainty(self, n: int = 16, seed: int | None = None, temperature: NumberOrMap | None = None) -> Uncertainty:
        """Per-pixel statistics of samples: mean, standard deviation, quantiles and agreement.

        Samples are drawn a few at a time, and of each its 8-bit values are kept, n bytes for each number of an image.
        For a photograph of any size, in tiles: `ncsr.uncertainty`.

        Args:
            n: samples of each image; the deviation's own relative error is about 1 / sqrt(2 n).
            seed: as of `sample`.
            temperature: as of `sample`.

        Returns:
            Of images (B, 3, s h, s w), on the CPU.

        Raises:
            InputError, SamplingError: as `sample`.
        """
        temperature, seed = self._sampling_values(n, temperature, seed)
        groups = (range(first, min(first + _TOGETHER, n)) for first in range(0, n, _TOGETHER))
        drawn = (self._draw_finite(group, temperature, seed).clamp_(0, 1) for group in groups)
        known = None if np.ndim(temperature) else float(temperature)
        origin = Provenance(
            ncsr=version("ncsr"), picture="standard deviation", scale=self.scale, seed=seed, temperature=known
        )
        return measure_uncertainty((image for images in drawn for image in images), origin)

    def latents(self, n: int = 1, seed: int | None = None, temperature: NumberOrMap | None = None) -> Latents:
        """The latents of samples: those that `sample` decodes, given the same n, seed and temperature.

        Of a sample that had to be drawn again because it was not finite, they are those of its first draw.

        Args:
            n: samples of each image.
            seed: as of `sample`.
            temperature: as of `sample`.

        Raises:
            InputError: what `sample` refuses; a model without a flow.
        """
        raise no_likelihood()

    @torch.no_grad()
    def project(self, sr: Tensor, bits: Literal[8, 16] | None = None) -> Tensor:
        """The nearest images in [0, 1] whose reduction is the LR image (`ncsr.ops.projection`).

        Args:
            sr: (..., B, 3, s h, s w) in [0, 1], as `sample` gives them.
            bits: 8 or 16 gives images of 2^bits levels, to be written, whose reduction rounds to the LR image; None
                makes the reduction equal.

        Returns:
            As `sr`. Where no such image exists, a near miss.

        Raises:
            InputError: images that do not fit these LR images, or that leave [0, 1]; other bits.
        """
        shape = (*self.lr.shape[:2], *(self.scale * side for side in self.lr.shape[-2:]))
        check_tensors(sr)
        if tuple(sr.shape[-4:]) != shape or not sr.is_floating_point():
            raise InputError(
                f"images to project must be (..., {shape}) floating point, got {tuple(sr.shape)} {sr.dtype}"
            )
        if bits not in (None, 8, 16):
            raise InputError(f"images are projected to 8 or 16 bits or none, got {bits}")
        if not bool((sr >= 0).all() & (sr <= 1).all()):
            raise InputError("images to project must lie in [0, 1], got values outside: clamp(0, 1) samples")
        return project(sr.to(self.lr), self.lr, bits)

    def log_prob(self, hr: Tensor, noise: Tensor | None = None) -> Tensor:
        """log p(hr | lr, noise) in nats, (n B,) or (n, B), as `hr` is; of a flow.

        Args:
            hr: n images of each LR image, (n B, 3, s h, s w), sample after sample, or (n, B, 3, s h, s w), as `sample`
                gives them. Taken as they are: nothing is added, rounded or clamped.
            noise: the noise image v (B, 3, s h, s w), or (B,) standard deviations for the std variant; None is zero.
                All n images have it.

        Warns:
            UserWarning: the images are far outside [0, 1], as those in [-1, 1] or 0..255 are.

        Raises:
            InputError: a shape that does not fit these LR images or this variant; weights that have changed; a model
                without a flow.
        """
        density, log_det = self.log_prob_parts(hr, noise)
        return density + log_det

    def log_prob_parts(self, hr: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The two terms of `log_prob`: the standard normal log-density of the latents, and log|det df/dhr|.

        Args:
            hr: as of `log_prob`.
            noise: as of `log_prob`.

        Returns:
            Both in nats, (n B,) or (n, B), as `hr` is.

        Raises:
            InputError: as `log_prob`.
        """
        raise no_likelihood()

    def log_prob_map(self, hr: Tensor, noise: Tensor | None = None) -> Tensor:
        """`log_prob` split by place: a log-density in nats for each pixel of the LR images; their sum is `log_prob`.

        The log-density of every latent and every layer's log-determinant count where they are computed, those of layers
        that act everywhere alike in equal shares: a cell of the flow smaller than an LR pixel in that pixel, a larger
        one in all that it covers. Low values are places that the model finds improbable. Differences between images of
        one LR image mean more than differences between places, since a sharp place has room for more images.

        Args:
            hr: as of `log_prob`.
            noise: as of `log_prob`.

        Returns:
            (n B, h, w) or (n, B, h, w), as `hr` is. What reflection added counts at the pixels that were reflected.

        Raises:
            InputError: as `log_prob`.
        """
        raise no_likelihood()

    @torch.no_grad()
    def rank(self, images: Tensor) -> Tensor:
        """Which of n images of each LR image the model finds most probable.

        Only images of one kind compare: what is smoother, such as a sample of a lower temperature, is more probable.

        Args:
            images: as of `log_prob`.

        Returns:
            (n, B) numbers from 0 to n - 1, the most probable first.

        Raises:
            InputError: as `log_prob`.
        """
        return self.log_prob(images).view(-1, len(self.lr)).argsort(0, descending=True)

    def bits_per_dim(self, hr: Tensor, noise: Tensor | None = None) -> Tensor:
        """-log2 p(hr | lr, noise) / (3 H W) of data in [0, 1]; figures of data in 0..255 are 8 higher.

        Args:
            hr: as of `log_prob`.
            noise: as of `log_prob`.

        Returns:
            (n B,) or (n, B), as `hr` is. H and W are those of the padded image where a side of the LR image is odd.

        Raises:
            InputError: as `log_prob`.
        """
        height, width = (self.scale * (side + side % 2) for side in self.lr.shape[-2:])
        return -self.log_prob(hr, noise) / (math.log(2) * (3 * height * width))

    def encode(self, hr: Tensor, noise: Tensor | None = None) -> Latents:
        """The latents of HR images; see `log_prob` for the arguments.

        Those of `sample(..., clamp=False)` are `latents` of the same seed, up to the precision that sampling has,
        unless a side of the LR image is odd: then samples are cropped.
        """
        raise no_likelihood()

    def decode(self, latents: Sequence[Tensor], noise: Tensor | None = None) -> Tensor:
        """The HR images (n B, 3, s h, s w) of latents: the exact inverse of `encode`, not clamped.

        Args:
            latents: `Latents`, or tensors (n B, C, H, W), fine to coarse.
            noise: as of `log_prob`.

        Raises:
            InputError: latents that do not fit these LR images; weights that have changed; a model without a flow.
        """
        raise no_likelihood()

    def render(self, latents: Sequence[Tensor], *, clamp: bool = True) -> Tensor:
        """The HR images (n, B, 3, s h, s w) of latents as `sample` makes them.

        That is much faster than `decode`: in the precision that sampling has, without gradients, with the noise zero.

        Args:
            latents: as of `decode`.
            clamp: as of `sample`.

        Raises:
            InputError: latents that do not fit these LR images; a model without a flow.
            SamplingError: an image is not finite.
        """
        raise no_likelihood()

    def _sampling_values(self, n: int, temperature: NumberOrMap | None, seed: int | None) -> tuple[NumberOrMap, int]:
        """The temperature and the seed to sample with, checked; `self.seed` keeps the seed."""
        temperature = self.model.config.temperature if temperature is None else temperature
        self.seed = seed = check_sampling(n, temperature, seed, maps=True)
        return temperature, seed  # not read from `self` again: another thread may have set it meanwhile

    def _redraw(self, n: int, where: NumberOrMap | None, given: Sequence[Tensor] | None) -> Redraw | None:
        """The checked `where` and `given` of `sample`; None if there are none."""
        if where is None and given is None:
            return None
        if where is None or given is None:
            raise InputError("to draw a part again, give both where, a mask, and given, the latents to keep outside it")
        self._check_latents(given)
        kept = Latents(tuple(z.to(self.lr) for z in given), self._lr_shape)
        if kept.samples not in (1, n):
            raise InputError(f"given must be the latents of 1 or {n} samples, as many as are drawn, got {kept.samples}")
        return Redraw(where, kept)

    def _check_latents(self, latents: Sequence[Tensor]) -> None:
        """Raise InputError unless latents are of these LR images, by their shapes."""
        raise no_likelihood()

    @property
    def _lr_shape(self) -> tuple[int, int, int]:
        return len(self.lr), self.lr.shape[-2], self.lr.shape[-1]
