"""Latents as values: what a super-resolution space draws, encodes and decodes, to be mixed, changed and kept in files.

Under a trained flow the latents of an image are independent standard normal numbers. Whatever changes them should
keep them so, up to their temperature: the mean of two images' latents has only 0.7 of their deviation, and
decodes to something smoother than either. So `interpolate` and `blend` go along the arc between the two (Shoemake
1985), with one angle w between a and b for each image and latent:

    z(t) = (sin((1 - t) w) a + sin(t w) b) / sin w

Independent latents are at a right angle: the squares of their weights add up to 1.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, overload

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from safetensors.torch import save
from torch import Tensor

from ncsr.config import FrozenModel, explain
from ncsr.errors import InputError, brief
from ncsr.runtime.files import atomic_path, explain_write_errors
from ncsr.serialization import digest, open_tensors

__all__ = ["Latents", "blend", "interpolate", "normalise", "temper"]

NumberOrMap: TypeAlias = Tensor | NDArray[Any] | float
"""A number for each pixel of the LR images, (h, w) or (B, h, w), or of the HR images; or one number for all."""
LatentSource = Literal["drawn", "encoded", "changed"]

_METADATA, _NAME = "latents", "latent_{}"


@dataclass(frozen=True, eq=False, repr=False)
class Latents(Sequence[Tensor]):
    """The latents of n images of each of B LR images: a sequence of tensors, fine to coarse.

    Attributes:
        tensors: each (n B, C, H, W), sample after sample.
        lr_shape: (B, h, w) of the LR images.
        source: drawn by a seed, encoded from images, or changed since.
        seed: that they were drawn by.
        temperature: that they were drawn at.
        numbers: of the n samples of that seed.

    Raises:
        InputError: tensors that are no latents of such images.
    """

    tensors: tuple[Tensor, ...]
    lr_shape: tuple[int, int, int]
    source: LatentSource = "changed"
    seed: int | None = None
    temperature: float | None = None
    numbers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        shape = self.lr_shape
        sides = isinstance(shape, tuple | list) and len(shape) == 3 and all(isinstance(n, Integral) for n in shape)
        if not all(isinstance(z, Tensor) for z in self.tensors) or not sides or min(shape) < 1:
            given = [type(z).__name__ for z in self.tensors]
            raise InputError(
                f"latents are tensors, with (B, h, w) of their LR images, got {given}, {brief(self.lr_shape)}"
            )
        shapes = [tuple(z.shape) for z in self.tensors]
        counts = {shape[0] if len(shape) == 4 else 0 for shape in shapes}
        if len(counts) != 1 or not min(counts) or min(counts) % self.lr_shape[0]:
            raise InputError(
                f"latents of {self.lr_shape[0]} LR images are tensors (n * {self.lr_shape[0]}, C, H, W), got {shapes}"
            )

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Tensor, ...]: ...
    def __getitem__(self, index: int | slice) -> Tensor | tuple[Tensor, ...]:
        return self.tensors[index]

    def __len__(self) -> int:
        return len(self.tensors)

    def __repr__(self) -> str:
        batch, height, width = self.lr_shape
        told = f"seed {self.seed}, temperature {self.temperature:g}" if self.temperature is not None else self.source
        return f"Latents({self.samples} of each of {batch} images of {width} x {height}, {told})"

    @property
    def samples(self) -> int:
        """The number n of images of each LR image."""
        return len(self.tensors[0]) // self.lr_shape[0]

    def pick(self, *samples: int) -> Latents:
        """The latents of some of the samples, counted from 0, in this order.

        Raises:
            InputError: there is no such sample.
        """
        wrong = [k for k in samples if not isinstance(k, Integral) or not 0 <= k < self.samples]
        if wrong or not samples:
            raise InputError(f"these are latents of samples 0 to {self.samples - 1}, got {brief(wrong or samples)}")
        parts = [z.unflatten(0, (self.samples, -1)) for z in self.tensors]
        tensors = tuple(z[list(samples)].flatten(0, 1) for z in parts)
        return replace(self, tensors=tensors, numbers=tuple(self.numbers[k] for k in samples if self.numbers))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file, which `load` reads.

        Raises:
            InputError: it cannot be written.
        """
        tensors = {_NAME.format(i): z.detach().cpu().contiguous() for i, z in enumerate(self.tensors)}
        header = _Header(
            **{name: getattr(self, name) for name in ("lr_shape", "source", "seed", "temperature", "numbers")},
            sha256=digest("", tensors),
        )
        with explain_write_errors(path), atomic_path(path) as temporary:
            temporary.write_bytes(save(tensors, metadata={_METADATA: header.model_dump_json()}))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Latents:
        """Read a file of `save`; the tensors are on the CPU.

        Raises:
            InputError: it cannot be read, holds no latents, or is damaged.
        """
        with open_tensors(Path(path), "latents") as file:
            text = (file.metadata() or {}).get(_METADATA)
            if text is None:
                raise InputError(f"{path} holds no latents: expected a file that `Latents.save` wrote")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dictionary)
        try:
            header = _Header.model_validate_json(text)
        except ValidationError as error:
            raise InputError(f"the latents {path} are not valid: {explain(error, _Header)}") from None
        names = [_NAME.format(i) for i in range(len(tensors))]
        if digest("", tensors) != header.sha256 or set(names) != set(tensors):
            raise InputError(f"{path} is damaged: its content is not what its checksum says; copy or download it again")
        fields = header.model_dump(exclude={"sha256"})
        return cls(tuple(tensors[name] for name in names), **fields)


class _Header(FrozenModel):
    """The metadata of a file of latents."""

    lr_shape: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
    source: LatentSource
    seed: int | None
    temperature: float | None
    numbers: tuple[int, ...]
    sha256: str


def interpolate(a: Latents, b: Latents, t: float) -> Latents:
    """Latents on the arc from a (t = 0) to b (t = 1); numbers that are the same in both stay as they are.

    Args:
        a: the beginning.
        b: the end, of LR images of the same size.
        t: from 0 to 1.

    Raises:
        InputError: latents that do not fit one another; another t.
    """
    if not isinstance(t, Real) or not 0 <= t <= 1:
        raise InputError(f"latents are interpolated at t from 0 (the first) to 1 (the second), got {brief(t)}")
    _check(a, b)
    return _along_arc(a, b, [torch.tensor(float(t), device="cpu")] * len(a))


def blend(a: Latents, b: Latents, mask: NumberOrMap) -> Latents:
    """Latents that are a where the mask is 1, b where it is 0, and on the arc between the two elsewhere.

    Numbers that are the same in both stay as they are.

    Args:
        a: what is inside.
        b: what is outside, of LR images of the same size. Either may have one sample for all of the other's.
        mask: from 0 to 1 for LR or HR pixels; a coarser latent sees means of it.

    Raises:
        InputError: latents or a mask that do not fit.
    """
    _check(a, b)
    return _along_arc(b, a, _level_maps(mask, max(a, b, key=lambda each: each.samples), "a mask", 1))


def temper(latents: Latents, temperature: NumberOrMap) -> Latents:
    """Latents times a map: relative to what they have, 1 changes nothing, 0 is the most probable image.

    Args:
        latents: those of `space.latents(..., temperature=1)` have the map's temperatures afterwards.
        temperature: from 0 up, for LR or HR pixels; a coarser latent sees means of it.

    Raises:
        InputError: a map that does not fit.
    """
    _check(latents)
    maps = _level_maps(temperature, latents, "a map of temperatures", torch.finfo(torch.float32).max)
    return _changed(latents, [z * m.to(z) for z, m in zip(latents, maps, strict=True)])


def normalise(latents: Latents, temperature: float = 1.0) -> Latents:
    """Latents of each image shifted and scaled to the prior's mean and deviation, latent by latent.

    What is encoded from an image that the flow finds improbable, a smooth or a sharpened one or one of another texture,
    decodes afterwards to something that it finds plausible (SRFlow, section 4).

    Args:
        latents: of any mean and deviation.
        temperature: the deviation that they get; their mean becomes 0.

    Raises:
        InputError: a negative temperature.
    """
    _check(latents)
    if not isinstance(temperature, Real) or not 0 <= temperature < float("inf"):
        raise InputError(f"the temperature must be a finite number from 0 up, got {brief(temperature)}")
    centred = [z - z.mean((1, 2, 3), keepdim=True) for z in latents]
    deviations = [z.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-12) for z in centred]
    return _changed(latents, [temperature * z / std for z, std in zip(centred, deviations, strict=True)])


def pad_even(images: Tensor, unit: int) -> Tensor:
    """Reflect `unit` more pixels on the right or bottom where a side holds an odd number of units."""
    height, width = (side // unit for side in images.shape[-2:])
    return F.pad(images, (0, unit * (width % 2), 0, unit * (height % 2)), mode="reflect")


def _check(*values: object) -> None:
    """Raise InputError unless these are latents."""
    wrong = [type(each).__name__ for each in values if not isinstance(each, Latents)]
    if wrong:
        raise InputError(
            f"expected a Latents, as space.latents and space.encode give, got {wrong[0]}: of tensors and (B, h, w) of "
            "their LR images, Latents(tuple(tensors), (B, h, w)) makes one"
        )


def _along_arc(a: Latents, b: Latents, ts: Sequence[Tensor]) -> Latents:
    """The latents at `ts` (one number or map for each latent) of the way from a to b."""
    samples = max(a.samples, b.samples)
    a, b = (each.pick(*[0] * samples) if each.samples == 1 else each for each in (a, b))
    shapes = [[tuple(z.shape) for z in each] for each in (a, b)]
    if a.lr_shape != b.lr_shape or shapes[0] != shapes[1]:
        raise InputError(f"two latents must be of LR images of one size and of one model, got {a} and {b}")
    return _changed(b, [_arc(x, y.to(x), t.to(x)) for x, y, t in zip(a, b, ts, strict=True)])


def _arc(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    differ = a != b
    x, y = ((z * differ).flatten(1) for z in (a, b))
    cosine = F.cosine_similarity(x, y).clamp(-1 + 1e-6, 1 - 1e-6)  # 0 of what is zero
    angle = cosine.acos().view(-1, 1, 1, 1)
    at_a, at_b = (part.mul(angle).sin() / angle.sin() for part in (1 - t, t))
    return torch.where(differ, at_a * a + at_b * b, a)


def _changed(latents: Latents, tensors: Sequence[Tensor]) -> Latents:
    return Latents(tuple(tensors), latents.lr_shape)


def _level_maps(values: NumberOrMap, latents: Latents, what: str, most: float) -> list[Tensor]:
    """Numbers from 0 to `most` for pixels, at the size of each latent: (1 or n B, 1, H, W)."""
    batch, height, width = latents.lr_shape
    scale = 2 * latents[0].shape[-1] // (width + width % 2)
    try:
        device = values.device if isinstance(values, Tensor) else "cpu"
        given = torch.as_tensor(values, dtype=torch.float32, device=device)
    except (TypeError, ValueError, RuntimeError):  # words, objects, lists of other lengths
        raise InputError(f"{what} is a number, or an array or tensor of numbers, got {brief(values)}") from None
    whole = given.expand(height, width) if given.dim() == 0 else given
    units = [unit for unit in (1, scale) if tuple(whole.shape[-2:]) == (unit * height, unit * width)]
    if not units or tuple(whole.shape[:-2]) not in ((), (batch,)):
        raise InputError(
            f"{what} has the shape (h, w) or ({batch}, h, w) with (h, w) = {(height, width)} or "
            f"{(scale * height, scale * width)} for these LR images, got {tuple(given.shape)}"
        )
    if not bool(((whole >= 0) & (whole <= most)).all()):
        raise InputError(f"{what} must lie in [0, {most:g}], got values from {whole.min():.9g} to {whole.max():.9g}")
    padded = pad_even(whole.reshape(-1, 1, *whole.shape[-2:]), units[0])
    repeats = latents.samples if len(padded) > 1 else 1
    return [F.adaptive_avg_pool2d(padded, (z.shape[-2], z.shape[-1])).repeat(repeats, 1, 1, 1) for z in latents]
