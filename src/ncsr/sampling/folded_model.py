"""A model as sampling runs it: the constants that follow from its weights alone are computed once, for all images."""

from __future__ import annotations

import torch
from torch import nn

from ncsr.encoder import Encoder
from ncsr.flow.flow import Flow
from ncsr.ops.prepacked_conv import PrepackedConv, copy_without_hooks
from ncsr.sampling.folded_flow import FoldedFlow


class FoldedModel:
    """Encoder and flow for sampling, without gradients; a later change of the weights has no effect here.

    Args:
        encoder: as it is now.
        flow: as it is now, or None.
        dtype: of the convolutions. The encoder's first convolution, its sums and the flow variable keep the dtype of
            the weights.

    Attributes:
        encoder: computes what the given one does.
        flow: samples as the given one does, or None.
    """

    def __init__(self, encoder: Encoder, flow: Flow | None, dtype: torch.dtype) -> None:
        self.encoder = copy_without_hooks(encoder).requires_grad_(False)
        for parent in list(self.encoder.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.Conv2d):
                    exact = child is self.encoder.first
                    convolution = PrepackedConv(
                        child.weight, child.bias, child.weight.dtype if exact else dtype, getattr(child, "slope", 1.0)
                    )
                    setattr(parent, name, convolution)
        self.flow = None if flow is None else FoldedFlow(flow, dtype)
