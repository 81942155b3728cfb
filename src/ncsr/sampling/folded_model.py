"""A model whose weights stay as they are: whatever they alone decide is computed and laid out once, for all images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ncsr.encoder import Encoder
from ncsr.flow.flow import Flow
from ncsr.ops.prepacked_conv import FixedConv, copy_of
from ncsr.sampling.folded_flow import FastFlow


class Frozen:
    """Encoder and flow for sampling, without gradients.

    Args:
        encoder: as it is now.
        flow: as it is now, or None.
        dtype: of the convolutions; the encoder's first, its sums and the flow variable are as the weights are.

    Attributes:
        encoder: computes what the given one does.
        flow: samples as the given one does, or None.
    """

    def __init__(self, encoder: Encoder, flow: Flow | None, dtype: torch.dtype) -> None:
        self._seen = _state(encoder, flow)
        self.encoder = copy_of(encoder).requires_grad_(False)
        for parent in list(self.encoder.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.Conv2d):
                    exact = child is self.encoder.first
                    convolution = FixedConv(
                        child.weight, child.bias, child.weight.dtype if exact else dtype, getattr(child, "slope", 1.0)
                    )
                    setattr(parent, name, convolution)
        self.flow = None if flow is None else FastFlow(flow, dtype)

    def outdated(self, encoder: Encoder, flow: Flow | None) -> bool:
        """Whether a weight has changed since, as far as PyTorch counts.

        It does not count what fused optimisers write, nor what is written to a tensor's `.data`.
        """
        before, now = self._seen, _state(encoder, flow)
        return len(before) != len(now) or any(
            old.data_ptr() != new.data_ptr() or was != version
            for (old, was), (new, version) in zip(before, now, strict=True)
        )

    def is_of(self, encoder: Encoder, flow: Flow | None) -> bool:
        """Whether PyTorch counts the changes of every weight, and there were none."""
        return all(was >= 0 for _, was in self._seen) and not self.outdated(encoder, flow)


def _state(encoder: Encoder, flow: Flow | None) -> list[tuple[Tensor, int]]:
    """The memory of every weight, held so that no other gets it, and how often it was written to, -1 for unknown."""
    parameters = [*encoder.parameters(), *(() if flow is None else flow.parameters())]
    return [(p.detach(), -1 if p.is_inference() else p._version) for p in parameters]
