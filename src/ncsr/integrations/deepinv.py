"""The model as a deepinv `Reconstructor`: samples of the posterior p(x | y) under `physics.DownsamplingMatlab`.

That physics is the reduction that the models are trained on: its A and `ncsr.ops.resize.imresize` differ by rounding
only, up to 2.4e-7 for images in [0, 1] in float32, and 4.4e-16 in float64 (factors 4 and 8).
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor

from ncsr.errors import InputError, needs_extra
from ncsr.model import NCSR
from ncsr.pretrained.load import load

with needs_extra("deepinv", "ncsr.integrations.deepinv needs deepinv and torchvision", "deepinv", "torchvision"):
    from deepinv.models import Reconstructor
    from deepinv.physics import DownsamplingMatlab


class Sampler(Reconstructor):  # type: ignore[misc]  # of a package without types
    """Draws HR images that reduce (nearly) to the measurements: every call is another sample of the posterior.

    `deepinv.sampling.DiffusionSampler(sampler)` estimates the posterior's mean and variance from many of them; with
    `temperature=0` every call returns the same image.

    Args:
        model: a model, or what `ncsr.load` takes.
        temperature: standard deviation of the latents; None is the model's default.
        device: where to load the model; ignored for a model that is loaded already.
    """

    def __init__(
        self,
        model: NCSR | str | os.PathLike[str] = "x4",
        temperature: float | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        super().__init__(device)
        self.model = model if isinstance(model, NCSR) else load(model, str(device))
        self.temperature = temperature

    def forward(self, y: Tensor, physics: Any, *, seed: int | None = None) -> Tensor:
        """One sample of each image.

        Args:
            y: (B, 3, h, w), measurements of images in [0, 1]. Bicubic reduction overshoots at edges: values beyond
                [0, 1] are clamped, as in the 8-bit images of training. The model takes noise in them for content.
            physics: `DownsamplingMatlab` with the model's scale as its factor and defaults for all else: cubic,
                antialiased, reflected.
            seed: of the sample; None draws one from PyTorch's global generator (`torch.manual_seed`).

        Returns:
            (B, 3, s h, s w) in [0, 1].

        Raises:
            InputError: another physics.
        """
        scale = self.model.config.scale
        expected = {"factor": scale, "kernel": "cubic", "padding": "reflect", "antialiasing": True}
        given = {name: getattr(physics, name, None) for name in expected}
        if not isinstance(physics, DownsamplingMatlab) or given != expected:
            shown = ", ".join(f"{name}={value!r}" for name, value in given.items() if value is not None)
            raise InputError(
                f"the model undoes DownsamplingMatlab(factor={scale}), cubic, reflected and antialiased; got "
                f"{type(physics).__name__}({shown}): give that physics, or a model that was trained for yours"
            )
        if seed is None:
            seed = int(torch.randint(2**63 - 1, ()))
        sample: Tensor = self.model.space(y.clamp(0, 1)).sample(1, self.temperature, seed)[0]
        return sample
