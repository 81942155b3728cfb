"""Latents as values: what mixing and changing them leaves true, and their files."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ncsr import InputError, Latents
from ncsr.latents import blend, interpolate, normalise, temper
from tests.models import lively_model

LR = (2, 6, 5)  # two images of 5 x 6 at x4: padded to 6 x 6, latents of 12 x 12 and 3 x 3


def drawn(seed: int, samples: int = 1, size: tuple[int, int] = (6, 5), fine: int = 6) -> Latents:
    generator = torch.Generator().manual_seed(seed)
    rows, columns = (side + side % 2 for side in size)
    shapes = [(2 * samples, fine, 2 * rows, 2 * columns), (2 * samples, 96, rows // 2, columns // 2)]
    tensors = [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return Latents(tuple(tensors), (2, *size), "drawn", seed, 1.0, tuple(range(samples)))


def close(actual: object, expected: object, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


def deviations(latents: Latents) -> Tensor:
    """Of each latent of each image."""
    return torch.stack([z.flatten(1).std(1, correction=0) for z in latents])


def test_latents_are_a_sequence_of_tensors() -> None:
    latents = drawn(3, samples=2)
    fine, coarse = latents
    assert len(latents) == 2
    assert latents[0] is fine
    assert latents[-1] is coarse
    assert latents[1:] == (coarse,)
    assert repr(latents) == "Latents(2 of each of 2 images of 5 x 6, seed 3, temperature 1)"
    assert repr(replace(latents, source="encoded", temperature=None)).endswith("images of 5 x 6, encoded)")


def test_pick_takes_samples_and_remembers_their_numbers() -> None:
    latents = drawn(0, samples=3)
    picked = latents.pick(2, 0)
    close(picked, [torch.cat((z[4:], z[:2])) for z in latents], 0)
    assert (picked.samples, picked.numbers, picked.seed) == (2, (2, 0), 0)
    assert picked.pick(0).numbers == (2,)
    assert replace(latents, numbers=()).pick(1).numbers == ()
    for wrong in [(3,), (0, -1), (), (0.5,), ([0, 1],)]:
        with pytest.raises(InputError, match=r"latents of samples 0 to 2, got [\[(]"):
            latents.pick(*wrong)
    for shape in (5, (1, 5), ("a", 5, 5), (1, 0, 5)):
        with pytest.raises(InputError, match=r"with \(B, h, w\) of their LR images, got"):
            Latents((torch.zeros(1, 3, 4, 4),), shape)  # type: ignore[arg-type]


@pytest.mark.parametrize("t", [0.1, 0.5, 0.8])
def test_the_arc_keeps_the_deviation_that_a_straight_line_loses(t: float) -> None:
    a, b = (drawn(seed, size=(32, 32)) for seed in (0, 1))
    close(deviations(interpolate(a, b, t)), torch.ones(2, 2).double(), 0.02)
    line = Latents(tuple(torch.lerp(x, y, t) for x, y in zip(a, b, strict=True)), a.lr_shape)
    close(deviations(line), torch.full((2, 2), math.hypot(t, 1 - t)).double(), 0.02)
    soft = torch.rand(32, 32, generator=torch.Generator().manual_seed(0))
    close(deviations(blend(a, b, soft)), torch.ones(2, 2).double(), 0.02)


def test_numbers_and_arrays_are_of_the_latents_device() -> None:
    """Whatever the default device is."""
    a, b = drawn(0), drawn(1)
    half = np.full((6, 5), 0.5)
    expected = interpolate(a, b, 0.25), blend(a, b, half), blend(a, b, 0.5), temper(a, half)
    with torch.device("meta"):
        found = interpolate(a, b, 0.25), blend(a, b, half), blend(a, b, 0.5), temper(a, half)
    for one, other in zip(expected, found, strict=True):
        close(one, other, 0)


def test_interpolate_turns_by_equal_angles() -> None:
    a, b = normalise(drawn(0)), normalise(drawn(1))  # of one length
    for steps in zip(*(interpolate(a, b, k / 4) for k in range(5)), strict=True):
        flat = [z.flatten(1) for z in steps]
        whole = F.cosine_similarity(flat[0], flat[-1]).acos()
        for x, y in itertools.pairwise(flat):
            close(F.cosine_similarity(x, y).acos(), whole / 4, 1e-6)


@pytest.mark.parametrize("other", [1, 0])
def test_the_ends_are_exact(other: int) -> None:
    a, b = drawn(0), drawn(other)
    close(interpolate(a, b, 0), a, 0)
    close(interpolate(a, b, 1), b, 0)
    close(blend(a, b, torch.ones(6, 5)), a, 0)
    close(blend(a, b, np.zeros((6, 5), bool)), b, 0)


def test_what_is_the_same_in_both_stays() -> None:
    """Two versions of a picture of which only a part was drawn again."""
    a = drawn(0)
    b = blend(drawn(1), a, torch.eye(6)[:, :5])
    half = interpolate(a, b, 0.5)
    for x, y, z in zip(a, b, half, strict=True):
        assert torch.equal(z[x == y], x[x == y])
        assert (z != x)[x != y].all()
    a = drawn(0, size=(32, 32))
    mask = torch.zeros(32, 32)
    mask[:, :8] = 1
    b = blend(drawn(1, size=(32, 32)), a, mask)  # what differs is independent, whatever the rest
    for x, y, z in zip(a, b, interpolate(a, b, 0.5), strict=True):
        close(z[x != y].std(), torch.ones(()).double(), 0.03)
    zero = temper(a, 0)
    close(interpolate(zero, zero, 0.5), zero, 0)
    close(interpolate(a, temper(a, -0.0), 1.0), zero, 0)


def test_parallel_latents_are_interpolated_along_their_line() -> None:
    a = drawn(0)
    close(interpolate(a, temper(a, 3.0), 0.25), temper(a, 1.5), 1e-5)
    opposite = Latents(tuple(-z for z in a), a.lr_shape)
    assert all(z.isfinite().all() for z in interpolate(a, opposite, 0.5))


def test_a_mask_of_lr_pixels_reaches_the_cells_over_them() -> None:
    a, b = drawn(0), drawn(1)
    mask = torch.zeros(6, 5)
    mask[2:4, 4] = 1  # the last column, which is not mirrored: column 3 is
    fine, coarse = blend(a, b, mask)
    inside = torch.zeros(12, 12, dtype=torch.bool)
    inside[4:8, 8:10] = True
    assert torch.equal(fine[..., inside], a[0][..., inside])
    assert torch.equal(fine[..., ~inside], b[0][..., ~inside])
    assert torch.equal(coarse[..., :2], b[1][..., :2])
    assert (coarse[..., 1, 2] != b[1][..., 1, 2]).all()
    assert (coarse[..., 1, 2] != a[1][..., 1, 2]).all()  # half of the cell is inside


def test_a_mask_of_hr_pixels() -> None:
    a, b = drawn(0, size=(6, 6)), drawn(1, size=(6, 6))
    mask = torch.rand(6, 6, generator=torch.Generator().manual_seed(0))
    hr = mask.repeat_interleave(4, 0).repeat_interleave(4, 1)
    before = blend(a, b, hr)
    close(before, blend(a, b, mask), 1e-5)
    hr[1, 1] = 0
    changed = blend(a, b, hr)[0] != before[0]
    assert changed[..., 0, 0].all()
    assert changed.sum() == changed[..., 0, 0].sum()


def test_a_map_for_each_image() -> None:
    latents = drawn(0, samples=3)
    maps = torch.tensor([0.5, 2.0])[:, None, None].expand(2, 6, 5)
    close(temper(latents, maps), [z * torch.tensor([0.5, 2.0]).repeat(3).view(-1, 1, 1, 1) for z in latents])
    close(temper(latents, maps.numpy()), temper(latents, maps), 0)


def test_one_sample_serves_for_many() -> None:
    many, one = drawn(0, samples=3), drawn(1)
    mixed = blend(many, one, 0.5 * torch.ones(6, 5))
    for k in range(3):
        close(mixed.pick(k), blend(many.pick(k), one, 0.5), 1e-12)
    assert interpolate(one, many, 0.3).samples == 3
    masks = torch.stack([torch.zeros(6, 5), torch.ones(6, 5)])  # for each of two images
    mixed = blend(one, many, masks)
    for k in range(3):
        close(mixed.pick(k), blend(one, many.pick(k), masks), 0)


def test_temper_scales_by_means_of_the_map() -> None:
    latents = drawn(0)
    ramp = torch.arange(30.0).view(6, 5)
    fine, coarse = temper(latents, ramp)
    close(fine[..., 2:4, 4:6], latents[0][..., 2:4, 4:6] * ramp[1, 2])
    close(fine[..., 10:], latents[0][..., 10:] * ramp[:, 3].repeat_interleave(2)[:, None])  # the mirrored column
    close(coarse[..., 1, 0], latents[1][..., 1, 0] * ramp[2:4, :2].mean())


def test_normalise_gives_the_priors_mean_and_deviation() -> None:
    latents = Latents(tuple(3 * z + 5 for z in drawn(0, samples=2)), LR)
    for temperature in (1.0, 0.8):
        normal = normalise(latents, temperature)
        close(torch.stack([z.flatten(1).mean(1) for z in normal]), torch.zeros(2, 4).double())
        close(deviations(normal), torch.full((2, 4), temperature, dtype=torch.float64))
    assert torch.equal(normalise(temper(latents, 0))[0], torch.zeros_like(latents[0]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: interpolate(a, a, 1.5), r"t from 0 \(the first\) to 1 \(the second\), got 1\.5"),
        (lambda a: interpolate(a, a, math.nan), "got nan"),
        (lambda a: interpolate(a, drawn(0, 3).pick(0, 1), 0.5), None),
        (lambda a: interpolate(a.pick(0, 0), drawn(0, 3), 0.5), "of one size and of one model, got Latents"),
        (lambda a: blend(a, drawn(0, size=(6, 6)), 1), "of one size and of one model"),
        (lambda a: blend(a, drawn(0, fine=12), 1), "of one size and of one model"),
        (lambda a: blend(a, a, torch.ones(5, 6)), r"\(h, w\) = \(6, 5\) or \(24, 20\) for these LR.*got \(5, 6\)"),
        (lambda a: blend(a, a, torch.ones(3, 6, 5)), r"\(h, w\) or \(2, h, w\).*got \(3, 6, 5\)"),
        (lambda a: blend(a, a, 255 * torch.ones(6, 5)), r"a mask must lie in \[0, 1\], got values from 255 to 255"),
        (lambda a: blend(a, a, math.nan), r"a mask must lie in \[0, 1\]"),
        (lambda a: temper(a, -torch.ones(6, 5)), "a map of temperatures must lie in"),
        (lambda a: temper(a, math.inf), "a map of temperatures must lie in"),
        (lambda a: normalise(a, -1), "temperature must be a finite number from 0 up, got -1"),
        (lambda a: Latents(a[:0], LR), r"LR images are tensors \(n \* 2, C, H, W\), got \[\]"),
        (lambda a: Latents((a[0][:1], a[1][:1]), LR), r"\(n \* 2, C, H, W\), got \[\(1, 6, 12, 12\)"),
        (lambda a: Latents((a[0], a[1][0]), LR), r"\(n \* 2, C, H, W\)"),
    ],
)
def test_wrong_input(change: Callable[[Latents], Any], reason: str | None) -> None:
    if reason is None:
        change(drawn(1))  # one sample goes with two
        return
    with pytest.raises(InputError, match=reason):
        change(drawn(1))


# Files


@pytest.mark.parametrize("drawn_from", ["drawn", "changed"])
def test_files_give_back_what_was_saved(tmp_path: Path, drawn_from: str) -> None:
    latents = drawn(4, samples=2) if drawn_from == "drawn" else normalise(drawn(4))
    latents.save(tmp_path / "a.safetensors")
    latents.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    loaded = Latents.load(tmp_path / "a.safetensors")
    close(loaded, latents, 0)
    assert replace(loaded, tensors=latents.tensors).__dict__ == latents.__dict__


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "latents.safetensors"
    drawn(0).save(path)
    good = path.read_bytes()
    header = 8 + int.from_bytes(good[:8], "little")
    damaged = {
        "cut": good[:-5],
        "empty": b"",
        "another": b"{}" * 40,
        "one bit": good[:-3] + bytes([good[-3] ^ 1]) + good[-2:],
        "metadata": good[:header].replace(b"sha256", b"sha257") + good[header:],
        "shape": good[:header].replace(b"[2,6,5]", b"[3,6,5]") + good[header:],
        "name": good[:header].replace(b"latent_0", b"latent_7") + good[header:],
    }
    for name, content in damaged.items():
        assert content != good, name
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"latents\.safetensors|latents of 3 LR images") as error:
            Latents.load(path)
        assert "\n" not in str(error.value), name
    with pytest.raises(InputError, match=r"cannot read the latents .*none\.safetensors"):
        Latents.load(tmp_path / "none.safetensors")
    lively_model(dtype=torch.float32).save(tmp_path / "model")
    with pytest.raises(InputError, match=r"holds no latents: expected a file that `Latents\.save` wrote"):
        Latents.load(tmp_path / "model" / "model.safetensors")
    with pytest.raises(InputError, match="cannot write"):
        drawn(0).save(tmp_path / "no such folder" / "latents.safetensors")


@pytest.mark.parametrize("function", [temper, blend, interpolate, normalise])
def test_plain_lists_are_no_latents(function: Callable[..., Latents]) -> None:
    latents = drawn(0)
    more: dict[Any, tuple[Any, ...]] = {temper: (1.0,), blend: (latents, 0.5), interpolate: (latents, 0.5)}
    for wrong in (list(latents), tuple(latents), latents[0], None, "latents"):
        with pytest.raises(InputError, match=rf"expected a Latents, .*, got {type(wrong).__name__}: of tensors"):
            function(wrong, *more.get(function, ()))
        if function in (blend, interpolate):
            with pytest.raises(InputError, match="expected a Latents"):
                function(latents, wrong, 0.5)


@pytest.mark.parametrize("mask", ["soft", None, [[1, 2], [3]], object(), {}, 1j])
def test_masks_are_numbers(mask: Any) -> None:
    latents = drawn(0)
    with pytest.raises(InputError, match="a mask is a number, or an array or tensor of numbers, got"):
        blend(latents, latents, mask)
    with pytest.raises(InputError, match="a map of temperatures is a number, or"):
        temper(latents, mask)


def test_other_wrong_values() -> None:
    latents = drawn(0)
    with pytest.raises(InputError, match="at t from 0"):
        interpolate(latents, latents, "half")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="finite number from 0 up, got 'warm'"):
        normalise(latents, "warm")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"latents are tensors, .*, got \['list'\]"):
        Latents(([1.0],), (1, 2, 2))  # type: ignore[arg-type]
    for shape in ((2, 2), (0, 6, 5)):
        with pytest.raises(InputError, match=r"with \(B, h, w\) of their LR images"):
            Latents(latents.tensors, shape)  # type: ignore[arg-type]
