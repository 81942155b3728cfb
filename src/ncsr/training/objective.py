"""The loss that a training step minimises.

It is one module, so that distributed training and the compiler, which wrap it, have a single forward pass.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ncsr.data.loader import Batch
from ncsr.model import NCSR
from ncsr.ops.resize import imresize
from ncsr.training.recipe import Recipe


class Objective(nn.Module):
    """L1 of the encoder alone, or bits per dimension of x+ given y+ and v.

    Args:
        model: the model that is trained.
        recipe: which objective it is, and which images the noise is added to.
    """

    def __init__(self, model: NCSR, recipe: Recipe) -> None:
        super().__init__()
        self.model, self.recipe = model, recipe

    def forward(self, hr: Tensor, lr: Tensor, condition: Tensor | None) -> Tensor:
        """The means over a batch, as `noisy` gives it, (3,): the loss and the two parts that add up to it.

        They are the parts of the latents' density and of the log-determinant, in bits per dimension. L1 has no parts:
        both are zero.
        """
        if self.recipe.objective == "l1":
            with self.model.arithmetic(sampling=False):
                sr: Tensor = self.model.encoder(lr)
            loss = (sr.float() - hr).abs().mean()
            return torch.stack((loss, torch.zeros_like(loss), torch.zeros_like(loss)))
        density, log_det = self.model.log_prob_parts(hr, lr, condition)
        bits = -torch.stack((density + log_det, density, log_det)) / (math.log(2) * hr[0].numel())
        return bits.mean(1)


def noisy(batch: Batch, recipe: Recipe) -> tuple[Tensor, Tensor, Tensor | None]:
    """x+, y+ and the condition of the noise conditional layers (paper, section 3.3).

    With `noise_on` hr, y stays as it is (section 3.2).
    """
    if batch.v is None:
        return batch.hr, batch.lr, None
    kind = "none" if recipe.model.flow is None else recipe.model.flow.condition
    condition = {"noise": batch.v, "std": batch.std, "none": None}[kind]
    noisy_lr = batch.lr + imresize(batch.v, 1 / recipe.model.scale) if recipe.noise_on == "both" else batch.lr
    return batch.hr + batch.v, noisy_lr, condition
