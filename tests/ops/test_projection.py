"""The projection: the nearest image, nothing else, and files that reduce to the input."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ncsr import NCSR, InputError
from ncsr.metrics import lr_psnr
from ncsr.ops import projection
from ncsr.ops.projection import apply_dual, project, solve_dual, strips
from ncsr.ops.resize import imresize, resize_matrix
from tests.conftest import scene


def _image(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(scene(height, width, seed=seed)).permute(2, 0, 1)


def _hard_image() -> Tensor:
    """Text-like: most pixels are black or white, and the reduction overshoots both."""
    generator = torch.Generator().manual_seed(0)
    strokes = torch.rand(3, 24, 32, generator=generator, dtype=torch.float64) < 0.3
    return strokes.double().repeat_interleave(4, -1).repeat_interleave(4, -2)


def _eight_bits(image: Tensor) -> Tensor:
    return (image * 255).round().to(torch.uint8)


@pytest.mark.parametrize(("scale", "height", "width"), [(4, 9, 14), (8, 4, 5), (4, 4, 4)])
def test_without_bounds_it_is_the_closed_form(scale: int, height: int, width: int) -> None:
    x0 = 0.4 + 0.2 * _image(scale * height, scale * width)[None].repeat(2, 1, 1, 1)
    lr = 0.45 + 0.1 * _image(height, width, seed=1)
    rows, columns = resize_matrix(scale * height, 1 / scale), resize_matrix(scale * width, 1 / scale)
    gap = lr - rows @ x0 @ columns.T
    closed = x0 + torch.linalg.pinv(rows) @ gap @ torch.linalg.pinv(columns).T
    assert 0 < closed.min() < closed.max() < 1
    projected = project(x0, lr)
    torch.testing.assert_close(projected, closed, rtol=0, atol=1e-5)
    torch.testing.assert_close(imresize(projected, 1 / scale), lr.expand(2, -1, -1, -1), rtol=0, atol=1e-5)


def test_with_bounds_it_is_the_nearest_image() -> None:
    """The optimality condition of a projection: no admissible image lies in the direction of x0."""
    hr = _image(40, 48)
    grain = torch.rand(hr.shape, generator=torch.Generator().manual_seed(0), dtype=hr.dtype) - 0.3
    lr, x0 = imresize(hr, 0.25), (hr + grain).clamp(0, 1)
    assert 0 < lr.min() < lr.max() < 1
    projected = project(x0, lr)
    assert ((projected == 0) | (projected == 1)).double().mean() > 0.002  # the bounds matter
    torch.testing.assert_close(imresize(projected, 0.25), lr, rtol=0, atol=1e-5)
    away = x0 - projected
    reachable = project(_image(40, 48, seed=3), lr)
    assert (away * (reachable - projected)).sum() < 1e-3 * away.norm() * (reachable - projected).norm()
    assert (away * (hr - projected)).sum() < 1e-3 * away.norm() * (hr - projected).norm()


@pytest.mark.parametrize("scale", [4, 8])
def test_written_files_reduce_to_the_input(scale: int) -> None:
    hr = _hard_image()
    lr = imresize(_eight_bits(hr), 1 / scale)
    grain = torch.rand(hr.shape, generator=torch.Generator().manual_seed(1), dtype=hr.dtype)
    x0 = 0.8 * hr + 0.2 * grain
    rows, columns = (resize_matrix(side, 1 / scale) for side in hr.shape[1:])
    gap = lr / 255.0 - rows @ x0 @ columns.T
    clipped = (x0 + torch.linalg.pinv(rows) @ gap @ torch.linalg.pinv(columns).T).clamp(0, 1)
    assert lr_psnr(clipped, lr) < 50
    projected = project(x0.float(), lr.float() / 255, 8)
    assert torch.equal(projected, (projected * 255).round() / 255)
    assert lr_psnr(projected, lr) > 60


def test_it_changes_less_than_the_exact_one_and_consistent_images_hardly() -> None:
    hr = _image(48, 64)
    lr = _eight_bits(imresize(_eight_bits(hr), 0.25).double() / 255)
    x0 = (hr + 0.02 * _image(48, 64, seed=5)).clamp(0, 1)
    exact, rounded = project(x0, lr / 255.0), project(x0, lr / 255.0, 8)
    assert (rounded - x0).abs().mean() < 0.95 * (exact - x0).abs().mean()
    assert lr_psnr(rounded, lr) > 60
    again = project(exact, lr / 255.0, 8)
    assert torch.equal(again, (exact * 255).round() / 255)


@pytest.mark.parametrize("bits", [None, 8])
def test_item_of_a_batch_is_the_image_alone(bits: int | None) -> None:
    """One that is far from its LR image among seven that are not: none stops or goes on because of the others."""
    hr = torch.stack([_image(40, 48, seed=i) for i in range(8)])
    lr = imresize(hr, 0.25)
    grain = torch.rand(hr[0].shape, generator=torch.Generator().manual_seed(0), dtype=hr.dtype) - 0.3
    x0 = torch.cat(((hr[:1] + grain).clamp(0, 1), hr[1:]))

    def dual(image: Tensor, small: Tensor) -> Tensor:
        return solve_dual(lambda first, last: image[..., first:last, :], small, 4, bits)

    for item, image, small in zip(dual(x0, lr), x0, lr, strict=True):
        torch.testing.assert_close(item, dual(image, small), rtol=0, atol=1e-9)
        torch.testing.assert_close(item[1], dual(image[1], small[1]), rtol=0, atol=1e-9)


def test_sixteen_bits() -> None:
    hr = _image(48, 64)
    lr = (imresize(hr, 0.25) * 65535).round() / 65535
    projected = project((hr + 0.03 * _image(48, 64, seed=5)).clamp(0, 1), lr, 16)
    torch.testing.assert_close(projected * 65535, (projected * 65535).round(), rtol=0, atol=1e-6)
    wrong = (imresize(projected, 0.25) * 65535).round() != (lr * 65535).round()
    assert wrong.double().mean() < 0.02


def test_strips_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    hr = _hard_image()[:, :92]
    lr, x0 = imresize(hr, 0.25).clamp(0, 1), (hr + 0.1 * _image(92, 128)).clamp(0, 1)
    whole = project(x0, lr, 8)
    monkeypatch.setattr(projection, "_STRIP", 1)
    asked = []

    def rows(first: int, last: int) -> Tensor:
        asked.append(last - first)
        return x0[:, first:last]

    assert list(strips(23, 4**2 * 32)) == [(0, 8), (8, 16), (16, 23)]
    image = apply_dual(rows, solve_dual(rows, lr, 4, 8), 4)
    parts = [image(4 * first, 4 * last) for first, last in strips(23, 4**2 * 32)]
    assert max(asked) == 4 * (8 + 2 * 2)
    assert torch.equal((torch.cat(parts, 1) * 255).round() / 255, whole)


def test_strips_begin_where_scales_divide() -> None:
    assert list(strips(10, 6, 8)) == [(0, 10)]
    assert list(strips(40, 2**19, 8)) == [(0, 8), (8, 16), (16, 24), (24, 32), (32, 40)]


def test_space_projects_its_samples(tiny_model: NCSR) -> None:
    lr = (torch.stack([_image(9, 12), _image(9, 12, seed=1)]) * 255).round().float() / 255
    space = tiny_model.space(lr)
    samples = space.sample(3, 0.8, seed=0)
    written = space.project(samples, bits=8)
    assert written.shape == samples.shape
    assert lr_psnr(samples, lr).max() < 45
    assert lr_psnr(written, lr).min() > 60
    exact = space.project(samples[0])
    torch.testing.assert_close(imresize(exact, 0.25), lr, rtol=0, atol=1e-4)
    torch.testing.assert_close(space.project(samples[0, :, :, :, :], bits=8), written[0])
    with pytest.raises(InputError, match=r"images to project must be \(\.\.\., \(2, 3, 36, 48\)\) floating point"):
        space.project(samples[:, :1])
    with pytest.raises(InputError, match="8 or 16 bits or none, got 12"):
        space.project(samples, bits=12)  # type: ignore[arg-type]
