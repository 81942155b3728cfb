"""The networks of a model, encoder and flow: on which device, in which precision, and folded for sampling."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import Tensor, nn

from ncsr.config import ModelConfig
from ncsr.encoder import Encoder
from ncsr.errors import InputError
from ncsr.flow.flow import Flow
from ncsr.ops.precision import float32_products
from ncsr.runtime.device import Precision, bfloat16_pays
from ncsr.sampling.folded_model import FoldedModel

if TYPE_CHECKING:
    from typing_extensions import Self


class Networks(nn.Module):
    """Encoder and flow, as super-resolution spaces compute with them.

    Sampling runs a folded copy of the networks (`folded`). Of a model in eval mode whose weights require no gradients,
    as `ncsr.load` gives it, the copy is kept, and made anew after `train`, `eval`, `requires_grad_`, `load_state_dict`
    and a change of device or dtype. After writing into such weights by hand, call `eval()`.

    Args:
        config: the architecture; the weights start at random. `ncsr.load` gives a trained model.
        precision: of the encoder and the subnets. `auto` samples in bfloat16 where the machine gains by it and does
            all else in float32. `tf32` is float32 with convolutions in TF32 on GPUs that have it. The flow variable,
            scales and log-determinants are never below float32, whatever PyTorch's flags permit.

    Attributes:
        generation: how often the weights may have changed since the networks were made.

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
        self.generation = 0
        self._folded: dict[torch.dtype, FoldedModel] = {}

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.encoder.first.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights: float32, or float64 after `.double()`."""
        return self.encoder.first.weight.dtype

    def __repr__(self) -> str:
        flow, size = self.config.flow, f"{self.config.parameters / 1e6:.2g} million parameters"
        kind = "encoder alone" if flow is None else "SRFlow" if flow.condition == "none" else "NCSR"
        return f"Model({kind} x{self.config.scale}, {size}, {self.precision} precision on {self.device})"

    @property
    def fixed(self) -> bool:
        """Whether the weights stay as they are: in eval mode, with none that requires gradients."""
        return not self.training and not any(parameter.requires_grad for parameter in self.parameters())

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
        return self.precision == "bfloat16" or (self.precision == "auto" and sampling and bfloat16_pays(self.device))

    @contextmanager
    def arithmetic(self, *, sampling: bool) -> Iterator[None]:
        """In this context convolutions compute in the model's precision; folded ones (`sampling`) in their dtype."""
        low = not sampling and self.low_precision(sampling=False)
        with (
            torch.autocast(self.device.type, torch.bfloat16, enabled=low),
            float32_products(tf32=self.precision == "tf32"),
        ):
            yield

    def folded(self) -> FoldedModel:
        """The networks for sampling, in bfloat16 or in the weights' own dtype as `low_precision` says."""
        dtype = torch.bfloat16 if self.low_precision(sampling=True) else self.dtype
        if not self.fixed:  # an optimiser may change the weights at any time
            return FoldedModel(self.encoder, self.flow, dtype)
        if dtype not in self._folded:
            self._folded.setdefault(dtype, FoldedModel(self.encoder, self.flow, dtype))  # threads keep the same one
        return self._folded[dtype]

    def train(self, mode: bool = True) -> Self:
        """As of every module; the folded networks are forgotten."""
        self._unfold()
        return super().train(mode)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """As of every module; the folded networks are forgotten."""
        self._unfold()
        return super().requires_grad_(requires_grad)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As of every module; the folded networks are forgotten."""
        self._unfold()
        return super().load_state_dict(state_dict, strict, assign)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._unfold()  # another device or dtype
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call, no-any-return]

    def _unfold(self) -> None:
        self.generation += 1
        self._folded.clear()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_folded": {}}  # a copy folds its own
