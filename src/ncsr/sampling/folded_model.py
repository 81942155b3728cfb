"""A model as sampling runs it: the constants that follow from its weights alone are computed once, for all images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ncsr.encoder import Encoder
from ncsr.flow.flow import Flow
from ncsr.ops.prepacked_conv import PrepackedConv, copy_without_hooks
from ncsr.runtime.cuda_graphs import new_recorder
from ncsr.sampling.captured import SamplingGraphs
from ncsr.sampling.folded_flow import FoldedConditions, FoldedFlow


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
        graphs: of a flow on a GPU: what of its sampling is captured; None elsewhere.
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
        recorder = None if flow is None else new_recorder(encoder.first.weight.device)
        self.graphs = None if recorder is None else SamplingGraphs(recorder)

    @torch.no_grad()
    def condition_on_lr(self, lr: Tensor) -> FoldedConditions:
        """The conditions of all steps of the flow for LR images (B, 3, h, w)."""
        assert self.flow is not None
        return self.flow.condition_on_lr(self.flow.features(self.encoder, lr))
