"""The folded model is made once, and again when the weights may have changed."""

from __future__ import annotations

import copy
import functools
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from ncsr import NCSR, InputError, networks
from ncsr.sampling.folded_model import FoldedModel
from tests.models import lively_encoder, lively_model

LR = torch.rand(1, 3, 6, 7, generator=torch.Generator().manual_seed(0))


def sample(model: NCSR) -> Tensor:
    return model.space(LR.to(model.dtype)).sample(1, 0.5, seed=0)


def test_is_kept() -> None:
    model = lively_model(dtype=torch.float32).requires_grad_(False)
    known, first = model.folded(), sample(model)
    assert model.folded() is known
    assert torch.equal(sample(model), first)
    assert model.train().folded() is not model.folded()  # in training nothing is kept
    assert torch.equal(sample(model), first)


@pytest.mark.parametrize("by", ["model", "space"])
@pytest.mark.parametrize("fused", [True, False])
def test_follows_a_step(fused: bool, by: str) -> None:
    model, hr = lively_model(dtype=torch.float32), torch.rand(1, 3, 24, 28)
    first = sample(model)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)  # PyTorch does not count a fused one's steps
    loss = model(hr, LR) if by == "model" else model.space(LR).bits_per_dim(hr)
    loss.backward()
    sample(model)  # before the step
    optimiser.step()
    assert not torch.equal(sample(model), first)
    assert torch.equal(sample(model), sample(copy.deepcopy(model)))


@pytest.mark.parametrize("whole", [True, False])
def test_follows_steps_of_weights_that_were_fixed_before(whole: bool) -> None:
    """Fine-tuning in eval mode: constants are known, then weights get gradients, and maybe lose them again."""
    model, hr = lively_model(dtype=torch.float32).requires_grad_(False), torch.rand(1, 3, 24, 28)
    first = sample(model)
    if whole:
        model.requires_grad_(True)
    else:
        for parameter in model.parameters():
            parameter.requires_grad = True
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    model(hr, LR).backward()
    optimiser.step()
    changed = model.requires_grad_(False) if whole else model
    assert not torch.equal(sample(changed), first)
    assert torch.equal(sample(changed), sample(copy.deepcopy(model)))


def test_follows_new_weights() -> None:
    model, other = lively_model(dtype=torch.float32), lively_model(dtype=torch.float32)
    first = sample(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.01)
    changed = sample(other)
    assert not torch.equal(first, changed)
    model.load_state_dict(other.state_dict())
    assert torch.equal(sample(model), changed)
    with torch.inference_mode():
        assert torch.equal(sample(model), changed)
    model.requires_grad_(False)
    assert torch.equal(sample(model), changed)
    model.encoder.first.weight.mul_(2)
    model.eval()  # as the documentation asks for after writing by hand
    assert not torch.equal(sample(model), changed)
    assert not torch.equal(sample(other.half().float()), changed)


def test_follows_another_type() -> None:
    model = lively_model(dtype=torch.float32)
    single = sample(model)
    assert sample(model.double()).dtype == torch.float64
    torch.testing.assert_close(sample(model).float(), single, rtol=0, atol=1e-4)


def test_densities_of_weights_that_have_changed_are_refused() -> None:
    model, hr = lively_model(dtype=torch.float32).requires_grad_(False), torch.rand(1, 3, 24, 28)
    space = model.space(LR)
    latents = space.encode(hr)
    model.load_state_dict({name: 1.01 * value for name, value in model.state_dict().items()})
    for call in (lambda: space.log_prob(hr), lambda: space.encode(hr), lambda: space.decode(latents)):
        with pytest.raises(InputError, match=r"the weights may have changed since this space was made: make a new one"):
            call()
    assert model.space(LR).log_prob(hr).isfinite().all()


def test_a_space_has_as_many_backward_passes_as_are_asked_for() -> None:
    model, hr = lively_model(dtype=torch.float32), torch.rand(1, 3, 24, 28)
    space, gradients = model.space(LR), []
    for _ in range(2):
        model.zero_grad()
        space.log_prob(hr).sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert gradients[0]
    for first, second in zip(*gradients, strict=True):
        assert torch.equal(first, second)


def test_hooks_are_not_copied() -> None:
    model, seen = lively_model(dtype=torch.float32), []
    before = sample(model)

    def hook(lock: threading.Lock, *_: object) -> None:
        with lock:  # which nothing can copy
            seen.append(1)

    model.encoder.first.register_forward_hook(functools.partial(hook, threading.Lock()))
    assert torch.equal(sample(model), before)
    assert not seen


@pytest.mark.parametrize("model", [lively_model(dtype=torch.float32), lively_encoder("esrgan+", torch.float32)])
def test_a_space_keeps_the_weights_it_was_made_with(model: NCSR) -> None:
    space = model.space(LR)
    before = space.sample(1, 0.5, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.01)
    assert torch.equal(space.sample(1, 0.5, seed=0), before)
    assert not torch.equal(sample(model), before)


@pytest.mark.parametrize("model", [lively_model(dtype=torch.float32), lively_encoder("esrgan+", torch.float32)])
def test_copies(model: NCSR) -> None:
    image = sample(model)
    space = model.space(LR)
    for _ in range(2):  # the second time weights are laid out for this size
        assert torch.equal(space.sample(1, 0.5, seed=0), image)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(sample(twin), image)
    assert torch.equal(copy.deepcopy(space).sample(1, 0.5, seed=0), image)


@torch.no_grad()
def test_weights_made_for_inference() -> None:
    with torch.inference_mode():
        model = lively_model(dtype=torch.float32)
        first = sample(model)
        assert torch.equal(first, sample(lively_model(dtype=torch.float32)))
        model.encoder.first.weight.mul_(2)
        assert not torch.equal(sample(model.eval()), first)


def test_what_is_seen_without_gradients_has_none() -> None:
    model = lively_model()
    space, hr = model.space(LR.double()), torch.rand(1, 3, 24, 28, dtype=torch.float64)
    assert space.log_prob(hr).requires_grad
    with torch.no_grad():
        quiet = space.log_prob(hr)
    torch.testing.assert_close(quiet, space.log_prob(hr).detach(), rtol=1e-12, atol=0)


def test_threads_that_fold_at_once_keep_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model, both = lively_model().requires_grad_(False).eval(), threading.Barrier(2)

    class Waiting(FoldedModel):
        def __init__(self, *args: Any) -> None:
            both.wait(30)  # for the other thread to have found none, too
            super().__init__(*args)

    monkeypatch.setattr(networks, "FoldedModel", Waiting)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: model.folded(), range(2))
    assert first is second
