"""The space of a flow, p(HR | LR): samples, latents and likelihoods."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ncsr.errors import InputError, SamplingError
from ncsr.flow.bijection import sum_except_batch
from ncsr.flow.flow import Conditions, Flow
from ncsr.latents import Latents, NumberOrMap, blend, pad_even, temper
from ncsr.networks import Networks
from ncsr.sampling.latents import Window, draw_latents
from ncsr.sampling.sampler import Sampler
from ncsr.space.base import Redraw, Space
from ncsr.space.checks import check_tensors, warn_of_range


class FlowSpace(Space):
    """The space of a flow: p(HR | LR) for these LR images.

    Args:
        model: its precision decides how encoder and subnets compute.
        flow: the model's.
        lr: (B, 3, h, w) on the model's device, of its dtype.
        origin: (top, left) of these LR pixels in the whole image.
        training: whether densities and latents are differentiated, so that nothing is kept between two of them.
    """

    def __init__(
        self, model: Networks, flow: Flow, lr: Tensor, origin: tuple[int, int], *, training: bool = False
    ) -> None:
        super().__init__(model, lr, origin)
        self.flow, self.training = flow, training
        self._padded = pad_even(lr, 1)
        self._generation = model.generation
        self._kept: Conditions | None = None

    def prepare(self) -> None:
        _ = self._sampler

    def draw(
        self,
        samples: Sequence[int],
        temperature: NumberOrMap,
        seed: int,
        attempt: int = 0,
        redraw: Redraw | None = None,
    ) -> Tensor:
        batch, images, chunk = len(self.lr), [], self._sampler.chunk
        for first in range(0, len(samples), chunk):
            part = samples[first : first + chunk]
            latents = self._draw_latents(part, temperature, seed, attempt)
            if redraw is not None:
                kept = redraw.kept.pick(*(k if redraw.kept.samples > 1 else 0 for k in part))
                latents = blend(latents, kept, redraw.where)
            images.append(self.decode_folded(latents).unflatten(0, (len(part), batch)))
        return torch.cat(images)

    @torch.no_grad()
    def latents(self, n: int = 1, seed: int | None = None, temperature: NumberOrMap | None = None) -> Latents:
        temperature, seed = self._sampling_values(n, temperature, seed)
        return self._draw_latents(range(n), temperature, seed, 0)

    @torch.no_grad()
    def render(self, latents: Sequence[Tensor], *, clamp: bool = True) -> Tensor:
        self._check_latents(latents)
        chunk = len(self.lr) * self._sampler.chunk
        parts = zip(*(z.to(self.lr).split(chunk) for z in latents), strict=True)
        images: Tensor = torch.cat([self.decode_folded(part) for part in parts]).unflatten(0, (-1, len(self.lr)))
        if not bool(images.isfinite().all()):
            raise SamplingError("these latents give an image that is not finite: lower their temperature")
        return images.clamp_(0, 1) if clamp else images

    def decode_folded(self, latents: Sequence[Tensor]) -> Tensor:
        """`decode` as sampling runs it: without noise and gradients, in the model's precision for sampling."""
        h, w = self.lr.shape[-2:]
        with self.model.arithmetic(sampling=True):
            return self._sampler.decode(latents)[..., : self.scale * h, : self.scale * w]

    def decode(self, latents: Sequence[Tensor], noise: Tensor | None = None) -> Tensor:
        self._check_latents(latents)
        with self.model.arithmetic(sampling=False):
            hr, _ = self.flow.decode([z.to(self.lr) for z in latents], self._conditions(noise))
        h, w = self.lr.shape[-2:]
        return hr[..., : self.scale * h, : self.scale * w]

    def log_prob_parts(self, hr: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        latents, log_det = self._encode(hr, noise)
        if not self.training:
            warn_of_range(hr)
        density = torch.stack([sum_except_batch(_normal_log_density(z)) for z in latents]).sum(0)
        return density.view(hr.shape[:-3]), log_det.view(hr.shape[:-3])

    def encode(self, hr: Tensor, noise: Tensor | None = None) -> Latents:
        return Latents(tuple(self._encode(hr, noise)[0]), self._lr_shape, "encoded")

    def log_prob_map(self, hr: Tensor, noise: Tensor | None = None) -> Tensor:
        flat = self._checked_hr(hr)
        if not self.training:
            warn_of_range(hr)
        with self.model.arithmetic(sampling=False):
            latents, shares = self.flow.encode_by_pixel(flat, self._conditions(noise))
        normal = [_normal_log_density(z).sum(1) for z in latents]
        (height, width), (h, w) = self._padded.shape[-2:], self.lr.shape[-2:]
        parts = [F.adaptive_avg_pool2d(cells, (height, width)) * cells[0].numel() for cells in (*normal, *shares)]
        total = torch.stack(parts).sum(0) / (height * width)
        if height > h:  # row h is row h - 2, reflected
            total[:, h - 2] += total[:, h]
        if width > w:
            total[..., w - 2] += total[..., w]
        return total[:, :h, :w].reshape(*hr.shape[:-3], h, w)

    def _encode(self, hr: Tensor, noise: Tensor | None) -> tuple[list[Tensor], Tensor]:
        """The latents of HR images, fine to coarse, and the log-determinant (n B,)."""
        flat = self._checked_hr(hr)
        with self.model.arithmetic(sampling=False):
            return self.flow.encode(flat, self._conditions(noise))

    def _checked_hr(self, hr: Tensor) -> Tensor:
        """HR images (n B, 3, H, W) as the flow takes them; InputError for others than those of these LR images."""
        check_tensors(hr)
        batch, _, h, w = self.lr.shape
        shape = (3, self.scale * h, self.scale * w)
        leading = hr.shape[:-3]
        fits = (len(leading) == 1 and leading[0] % batch == 0) or (len(leading) == 2 and leading[1] == batch)
        if not fits or not hr.numel() or tuple(hr.shape[-3:]) != shape or not hr.is_floating_point():
            raise InputError(
                f"hr must be (n * {batch}, C, H, W) or (n, {batch}, C, H, W) floating point, (C, H, W) = {shape} for "
                f"these LR images at scale {self.scale}, got {tuple(hr.shape)} {hr.dtype}"
            )
        return pad_even(hr.reshape(-1, *shape).to(self.lr), self.scale)

    def _check_latents(self, latents: Sequence[Tensor]) -> None:
        if not isinstance(latents, Sequence):
            raise InputError(f"latents are a sequence of tensors, fine to coarse, got {type(latents).__name__}")
        check_tensors(*latents)
        shapes = self.flow.latent_shapes(*(self.scale * side for side in self._padded.shape[-2:]))
        given = [tuple(z.shape) for z in latents]
        n = given[0][0] if given and given[0] else 0
        if not n or n % len(self.lr) or given != [(n, *shape) for shape in shapes]:
            raise InputError(
                f"latents of these LR images have shapes (n * {len(self.lr)}, C, H, W) with {shapes}, got {given}"
            )

    def _draw_latents(self, samples: Sequence[int], temperature: NumberOrMap, seed: int, attempt: int) -> Latents:
        """The latents of the samples of these numbers, equal for all B images unless temperatures are a map."""
        drawn = draw_latents(self._windows(), samples, seed, attempt)
        tensors = tuple(z.to(self.lr).repeat_interleave(len(self.lr), 0) for z in drawn)
        if np.ndim(temperature):
            return temper(Latents(tensors, self._lr_shape), temperature)
        number = float(temperature)
        for z in tensors:
            z.mul_(number)
        return Latents(tensors, self._lr_shape, "drawn", seed, number, tuple(samples))

    def _conditions(self, noise: Tensor | None) -> Conditions:
        """The conditions of all layers, for densities and latents."""
        reusable = self.model.fixed and not self.training and not self.lr.requires_grad
        if reusable and self._generation != self.model.generation:
            raise InputError("the weights may have changed since this space was made: make a new one, model.space(lr)")
        conditions = self._kept if reusable else None
        if conditions is None:
            conditions = self.flow.condition_on_lr(self.flow.features(self.model.encoder, self._padded))
            self._kept = conditions if reusable else None  # a graph serves one backward pass
        if noise is None:
            return conditions
        check_tensors(noise)
        batch, _, h, w = self.lr.shape
        std = self.model.config.flow is not None and self.model.config.flow.condition == "std"
        shape = (batch,) if std else (batch, 3, self.scale * h, self.scale * w)
        if tuple(noise.shape) != shape:
            raise InputError(f"noise must be {shape} for this model and these LR images, got {tuple(noise.shape)}")
        noise = noise.to(self.lr)
        return self.flow.add_noise_condition(conditions, noise if std else pad_even(noise, self.scale))

    @cached_property
    def _sampler(self) -> Sampler:
        """The model's sampling for these LR images, in its precision for that."""
        with torch.no_grad(), self.model.arithmetic(sampling=True):
            return Sampler(self.model.folded(), self._padded, self.model.precision)

    def _windows(self) -> list[Window]:
        """The windows of these LR images' latents in the whole image."""
        height, width = (self.scale * side for side in self._padded.shape[-2:])
        top, left = (self.scale * corner for corner in self.origin)
        windows = []
        for shape in self.flow.latent_shapes(height, width):
            cell = height // shape[1]
            windows.append(Window(shape, (top // cell, left // cell), cell))
        return windows


def _normal_log_density(z: Tensor) -> Tensor:
    """log N(z; 0, 1) of every number, in nats."""
    return -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
