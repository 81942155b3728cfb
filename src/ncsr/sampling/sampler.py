"""Sampling for some LR images: what depends on them alone, kept, and decoding."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ncsr.sampling.captured import Key
from ncsr.sampling.folded_flow import FoldedConditions, chunk_size
from ncsr.sampling.folded_model import FoldedModel


class Sampler:
    """Decodes latents for LR images; on a GPU it goes over to CUDA graphs once LR images of their shape come again.

    Args:
        model: with a flow; it keeps the graphs.
        lr: (B, 3, h, w), sides even, which nobody writes to.
        precision: that is asked for, which the graphs are captured with.

    Attributes:
        chunk: how many samples of each image to decode at a time.
    """

    def __init__(self, model: FoldedModel, lr: Tensor, precision: str) -> None:
        assert model.flow is not None
        self._model, self._decode, self._lr, self._key = model, model.flow.decode, lr, Key(lr.shape, precision)
        self._conditions: FoldedConditions | None = None
        chunk = None if model.graphs is None else model.graphs.prepare(self._key, lr)
        self.chunk = chunk or chunk_size(self.conditions[-1])

    @property
    def conditions(self) -> FoldedConditions:
        """The conditions of all steps for the LR images."""
        conditions = self._conditions
        if conditions is None:
            conditions = self._conditions = self._model.condition_on_lr(self._lr)
        return conditions

    def decode(self, latents: Sequence[Tensor]) -> Tensor:
        """The HR images (n B, 3, s h, s w) of latents (n B, C, H, W), fine to coarse; not clamped."""
        model = self._model
        if model.graphs is not None:
            images = model.graphs.decode(self._key, self._lr, latents, model.condition_on_lr, self._decode)
            if images is not None:
                self._conditions = None  # the graphs have their own
                return images
        return self._decode(latents, self.conditions)
