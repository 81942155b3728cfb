"""The model: encoder and flow, p(HR | LR)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from ncsr.config import ModelConfig
from ncsr.encoder import Encoder
from ncsr.errors import InputError
from ncsr.flow.actnorm import start_actnorms
from ncsr.flow.flow import Flow
from ncsr.runtime.device import Precision, bfloat16_pays
from ncsr.sampling.folded_model import Frozen
from ncsr.serialization import write_model
from ncsr.space import EncoderSpace, FlowSpace, Space


class NCSR(nn.Module):
    """A conditional normalizing flow over HR images, given an LR image (paper, section 3).

    With `config.flow` None it is the encoder alone: RRDB, ESRGAN or ESRGAN+.

    Args:
        config: the architecture; the weights start at random. `ncsr.load` gives a trained model.
        precision: of the encoder and the subnets. `auto` samples in bfloat16 where the machine gains by it and does
            all else in float32. The flow variable, scales and log-determinants are never below float32.

    Raises:
        InputError: no such precision.
    """

    def __init__(self, config: ModelConfig, precision: Precision = "auto") -> None:
        super().__init__()
        if precision not in get_args(Precision):
            raise InputError(f"precision must be one of {', '.join(get_args(Precision))}, got {precision!r}")
        self.config = config
        self.precision = precision
        self.encoder = Encoder(config.encoder, config.scale)
        self.flow = None if config.flow is None else Flow(config)
        self._frozen: dict[torch.dtype, Frozen] = {}

    def train(self, mode: bool = True) -> NCSR:
        """As of every module. In training no constants are kept."""
        self._frozen.clear()
        return super().train(mode)

    def requires_grad_(self, requires_grad: bool = True) -> NCSR:
        """As of every module. What was known of fixed weights is forgotten."""
        self._frozen.clear()
        return super().requires_grad_(requires_grad)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> NCSR:
        self._frozen.clear()  # of another device or type
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call, no-any-return]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_frozen": {}}  # copies make their own

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.encoder.first.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights: float32, or float64 after `.double()`."""
        return self.encoder.first.weight.dtype

    @property
    def recompute(self) -> bool:
        """Whether training computes activations again in backward: much less memory, a third more time."""
        return self.encoder.recompute

    @recompute.setter
    def recompute(self, value: bool) -> None:
        self.encoder.recompute = value
        for level in () if self.flow is None else self.flow.levels:
            level.recompute = value

    def low_precision(self, *, sampling: bool) -> bool:
        """Whether the encoder and subnets compute in bfloat16, when sampling or otherwise."""
        if self.dtype != torch.float32 or self.precision == "float32":
            return False
        return self.precision == "bfloat16" or (sampling and bfloat16_pays(self.device))

    def space(self, lr: Tensor, *, origin: tuple[int, int] = (0, 0)) -> Space:
        """The super-resolution space of LR images: whatever depends on them alone is computed here, once.

        Args:
            lr: (B, 3, h, w) float in [0, 1], any sides from 4 up.
            origin: (top, left) of these LR pixels in the whole image, even numbers: samples of tiles of one image
                agree.

        Samples keep the weights as they are now; after a change make a new space. Modules are not called for samples,
        so hooks on these see nothing. Of weights without gradients, as `ncsr.load` gives them, constants are kept
        between spaces until PyTorch counts a change: what is written to a tensor's `.data` it does not count.

        Raises:
            InputError: not such a tensor.
        """
        if lr.dim() != 4 or lr.shape[1] != 3 or min(lr.shape[-2:]) < 4 or not lr.shape[0] or not lr.is_floating_point():
            raise InputError(
                f"lr must be (B, 3, h, w) floating point with sides from 4, got {tuple(lr.shape)} {lr.dtype}"
            )
        if not bool((lr >= 0).all() & (lr <= 1).all()):
            raise InputError("lr must lie in [0, 1], got values outside: divide 8-bit images by 255")
        if origin[0] % 2 or origin[1] % 2 or min(origin) < 0:
            raise InputError(f"a tile's origin must be even LR pixels, from 0, got {origin}")
        space = self._space(lr, origin, training=False)
        space.prepare()
        return space

    def training_space(self, lr: Tensor) -> Space:
        """`space` for training: y+ leaves [0, 1]; nothing is computed before it is asked for, and by the layers."""
        return self._space(lr, (0, 0), training=True)

    def _space(self, lr: Tensor, origin: tuple[int, int], *, training: bool) -> Space:
        lr = lr.to(self.device, self.dtype)
        if self.flow is None:
            return EncoderSpace(self, lr, origin)
        return FlowSpace(self, self.flow, lr, origin, training=training)

    def frozen(self, *, low: bool) -> Frozen:
        """What the weights alone decide, in bfloat16 or as they are.

        In eval mode it is kept until a weight changes (`Frozen.is_of`), if none requires gradients: what fused
        optimisers write, PyTorch does not count.
        """
        dtype = torch.bfloat16 if low else self.dtype
        if self.training or any(p.requires_grad for p in self.parameters()):
            self._frozen.clear()
            return Frozen(self.encoder, self.flow, dtype)
        known = self._frozen.get(dtype)
        if known is None or not known.is_of(self.encoder, self.flow):
            known = self._frozen[dtype] = Frozen(self.encoder, self.flow, dtype)
        return known

    def forward(self, hr: Tensor, lr: Tensor, noise: Tensor | None = None) -> Tensor:
        """The training loss -log p(hr | lr, noise) in bits per dimension, (B,).

        Args:
            hr: (B, 3, s h, s w), x+ of the paper in training.
            lr: (B, 3, h, w), y+ of the paper in training.
            noise: v, (B, 3, s h, s w), or its standard deviations (B,) for the std variant; None is zero.
        """
        return self.training_space(lr).bits_per_dim(hr, noise)

    def log_prob_parts(self, hr: Tensor, lr: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The two terms of log p(hr | lr, noise) in nats, (B,) each; see `Space.log_prob_parts`, `forward`."""
        return self.training_space(lr).log_prob_parts(hr, noise)

    def start_actnorms(self, hr: Tensor, lr: Tensor, noise: Tensor | None = None) -> None:
        """Start every actnorm that has not started from one batch; in several processes all take process 0's start."""
        start_actnorms(self, lambda: self(hr, lr, noise))

    def save(self, folder: str | os.PathLike[str], *, half: bool = False) -> None:
        """Write a model folder that `ncsr.load` opens.

        Args:
            folder: made when missing; what it held of an older model is replaced.
            half: store in float16, but for 1x1 convolutions and actnorms.
        """
        write_model(Path(folder), self.config, self.state_dict(), half=half)
