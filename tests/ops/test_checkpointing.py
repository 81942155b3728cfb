"""Activation checkpointing changes what is kept, not what is computed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ncsr import NCSR
from tests.models import lively_encoder, lively_model


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradients_of(model: NCSR, recompute: bool) -> tuple[dict[str, Tensor], int]:
    """Of every parameter, and the bytes that the forward pass kept for them."""
    model.recompute = recompute
    model.zero_grad()
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    known = {p.untyped_storage().data_ptr() for p in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        if model.flow is None:
            loss = model.encoder(drawn(2, 3, 8, 6)).square().mean()
        else:
            loss = model(drawn(2, 3, 32, 24), drawn(2, 3, 8, 6, seed=1), 0.1 * drawn(2, 3, 32, 24, seed=2)).mean()
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return gradients, sum(size for pointer, size in kept.items() if pointer not in known)


@pytest.mark.parametrize("make", [lively_model, lively_encoder])
def test_recomputing_changes_memory_alone(make: Callable[[], NCSR]) -> None:
    model = make()
    assert not model.recompute
    gradients, kept = gradients_of(model, recompute=False)
    again, kept_again = gradients_of(model, recompute=True)
    assert gradients.keys() == again.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(again[name], gradient, rtol=0, atol=1e-12)
    assert kept_again < 0.9 * kept
