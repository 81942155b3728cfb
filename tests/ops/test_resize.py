"""MATLAB-compatible resizing against the golden images and its own laws."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ncsr.errors import InputError
from ncsr.ops.resize import imresize
from tests.parity import golden

GOLDEN = golden("imresize")
NAMES = sorted(name.removesuffix("_in") for name in GOLDEN if name.endswith("_in"))


def test_goldens_cover_both_dtypes() -> None:
    assert {GOLDEN[f"{name}_in"].dtype for name in NAMES} == {torch.uint8, torch.float64}


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str) -> None:
    images = GOLDEN[f"{name}_in"].permute(2, 0, 1)
    expected = GOLDEN[f"{name}_out"].permute(2, 0, 1)
    resized = imresize(images, GOLDEN[f"{name}_scale"].item())
    assert resized.dtype == expected.dtype
    if images.dtype == torch.uint8:
        assert torch.equal(resized, expected)
    else:
        torch.testing.assert_close(resized, expected, rtol=0, atol=1e-9)


def test_batches_and_axes_are_independent() -> None:
    images = torch.rand(2, 3, 20, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    resized = imresize(images, 0.25)
    assert resized.shape == (2, 3, 5, 7)
    torch.testing.assert_close(resized[1, 2], imresize(images[1, 2], 0.25))
    torch.testing.assert_close(resized.mT, imresize(images.mT, 0.25))


def test_constant_images_stay_constant() -> None:
    images = torch.full((1, 9, 13), 0.7, dtype=torch.float64)
    for scale in (0.25, 0.125, 3.0):
        resized = imresize(images, scale)
        torch.testing.assert_close(resized, torch.full_like(resized, 0.7))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_scale_must_be_positive(scale: float) -> None:
    with pytest.raises(InputError, match="scale"):
        imresize(torch.zeros(3, 8, 8), scale)


def test_integers_other_than_bytes_are_refused() -> None:
    with pytest.raises(InputError, match="int64"):
        imresize(torch.zeros(3, 8, 8, dtype=torch.int64), 0.5)


def test_nothing_is_kept_of_other_modes() -> None:
    """Neither tensors without numbers nor those of inference mode spoil a later call."""
    images = torch.rand(1, 3, 24, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for mode in (lambda: torch.device("meta"), torch.inference_mode, FakeTensorMode):
        with mode():
            assert imresize(torch.rand(1, 3, 24, 20, dtype=torch.float64), 0.25).shape == (1, 3, 6, 5)
        assert imresize(images, 0.25).isfinite().all()
        differentiated = images.clone().requires_grad_()
        assert torch.autograd.grad(imresize(differentiated, 0.25).sum(), differentiated)[0].sum() > 0


def test_a_gpu_is_not_waited_for(device: torch.device) -> None:
    """Training resizes in every step."""
    images = torch.rand(2, 3, 24, 20, dtype=torch.float64)
    placed = images.to(device)
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        resized = imresize(placed, 0.25)
    finally:
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(resized.cpu(), imresize(images, 0.25))


@pytest.mark.parametrize("shape", [(8,), (3, 0, 8), (3, 8, 0)])
def test_images_need_pixels(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="with pixels"):
        imresize(torch.zeros(shape), 0.25)
