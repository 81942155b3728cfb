"""What a report is made of: matching files, intervals, set measures that merge, places that are shown."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from ncsr.errors import InputError
from ncsr.evaluation.crops import find_crops
from ncsr.evaluation.measuring import ImageMeasures, SetMeasures
from ncsr.evaluation.methods import encoder_alone, methods_of, short_name
from ncsr.evaluation.pairs import Pair, PhotographFiles, find_pairs, match_samples, read_pair, read_sample
from ncsr.evaluation.results import interval, student
from ncsr.metrics import lr_psnr, luma_psnr, texture
from ncsr.metrics.streaming import all_measures
from ncsr.model import NCSR
from ncsr.ops.resize import imresize
from ncsr.upscaling.tiling import SampleRequest
from tests.conftest import scene8
from tests.models import lively_encoder


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few patches of texture, whose sorting would take most time."""
    monkeypatch.setattr(texture, "PATCHES", 256)
    monkeypatch.setattr(texture, "DIRECTIONS", 8)


def save(path: Path, height: int = 64, width: int = 64, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene8(height, width, seed=seed)).save(path)
    return path


def made_pair(seed: int = 0) -> Pair:
    hr = torch.from_numpy(scene8(64, 72, seed=seed)).permute(2, 0, 1).contiguous()
    return Pair(PhotographFiles(0, Path("made.png")), hr, imresize(hr, 0.25), None)


def made_samples(pair: Pair, n: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = 0.05 * torch.randn(n, *pair.hr.shape, generator=generator)
    return (pair.hr / 255 + noise).clamp(0, 1)


# files


def test_pairs_by_name(tmp_path: Path) -> None:
    for name in ("0801", "0802", "0803"):
        save(tmp_path / "hr" / f"{name}.png")
    save(tmp_path / "lr/0801x4.png", 16, 16)
    save(tmp_path / "lr/0803.bmp", 16, 16)
    pairs, problems = find_pairs(tmp_path / "hr", tmp_path / "lr", 4)
    assert [(p.index, p.name, p.lr and p.lr.name) for p in pairs] == [
        (0, "0801.png", "0801x4.png"),
        (2, "0803.png", "0803.bmp"),
    ]
    assert len(problems) == 1
    assert "0802.png has no LR image" in problems[0]


@pytest.mark.parametrize("names", ["{i:06d}_sample{k:05d}", "{stem}_s{k}", "{stem}x4_s{k}"])
def test_samples_by_name(tmp_path: Path, names: str) -> None:
    for i, stem in enumerate(("0801", "0802")):
        save(tmp_path / "hr" / f"{stem}.png")
        for k in range(11):
            save(tmp_path / "sr" / (names.format(i=i, k=k, stem=stem) + ".png"), 8, 8)
    pairs, _ = find_pairs(tmp_path / "hr", None, 4)
    matched, problems = match_samples(pairs, [tmp_path / "sr"], 4)
    assert problems == []
    assert [p.name for p in matched] == ["0801.png", "0802.png"]
    for i, (files, stem) in enumerate(zip(matched, ("0801", "0802"), strict=True)):
        assert [p.stem for p in files.samples[0]] == [names.format(i=i, k=k, stem=stem) for k in range(11)]


def test_missing_and_misnamed_samples_are_named(tmp_path: Path) -> None:
    for stem in ("a", "b", "c"):
        save(tmp_path / "hr" / f"{stem}.png")
    for name in ("a_s0", "a_s1", "b_s1", "other", "000009_sample00000"):
        save(tmp_path / "sr" / f"{name}.png", 8, 8)
    matched, problems = match_samples(find_pairs(tmp_path / "hr", None, 4)[0], [tmp_path / "sr"], 4)
    assert [p.name for p in matched] == ["a.png"]
    text = "\n".join(problems)
    assert len(problems) == 4
    for words in ("other.png belongs to no photograph", "000009_sample00000.png belongs to no photograph"):
        assert words in text
    assert "lacks sample 0 of b.png" in text
    assert "has no image of c.png: expected 000002_sample00000.png or c_s0.png" in text


def test_sizes_and_kernel_of_given_lr_images(tmp_path: Path) -> None:
    hr, made = save(tmp_path / "hr.png", 67, 65), tmp_path / "lr.png"
    pair = read_pair(PhotographFiles(0, hr), 4)
    assert (tuple(pair.hr.shape), tuple(pair.lr.shape), pair.agreement) == ((3, 64, 64), (3, 16, 16), None)
    Image.fromarray(pair.lr.permute(1, 2, 0).numpy()).save(made)
    assert read_pair(PhotographFiles(0, hr, made), 4).agreement == math.inf
    Image.open(hr).crop((0, 0, 64, 64)).resize((16, 16), Image.Resampling.NEAREST).save(made)
    assert read_pair(PhotographFiles(0, hr, made), 4).agreement < 45  # type: ignore[operator]
    save(made, 17, 16)
    with pytest.raises(InputError, match=r"lr.png is 16 x 17 pixels: the LR image of hr.png at scale 4, is 16 x 16"):
        read_pair(PhotographFiles(0, hr, made), 4)
    with pytest.raises(InputError, match=r"hr.png is 65 x 67 pixels: hr.png, cropped .*, is 64 x 64"):
        read_sample(hr, pair)


# figures


def test_figures_are_those_of_the_streaming_measures() -> None:
    pairs = [made_pair(seed) for seed in range(3)]
    measures, gathered, figures = all_measures(4), SetMeasures(), []
    for i, pair in enumerate(pairs):
        samples = made_samples(pair, seed=i)
        measures.update(samples, pair.hr, pair.lr)
        gathered.add(samples, pair.hr)
        figures.append(ImageMeasures(pair, None, truncate=False).measure(samples, deterministic=False)[0])
    expected = {name: float(value) for name, value in measures.compute().items()}
    found = gathered.figures() | {name: sum(f[name] for f in figures) / 3 for name in figures[0]}
    assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_truncation_concerns_lr_psnr_alone() -> None:
    pair = made_pair()
    samples = made_samples(pair)
    rounded, truncated = (ImageMeasures(pair, None, t).measure(samples, False)[0] for t in (False, True))
    assert truncated["lr_psnr_mean"] == lr_psnr(samples, pair.lr, truncate=True).mean()
    assert truncated["lr_psnr_mean"] != rounded["lr_psnr_mean"]
    assert truncated["luma_psnr"] == rounded["luma_psnr"] == luma_psnr(samples, pair.hr, 4).mean()


def test_one_image_deviates_only_if_it_is_all_there_can_be() -> None:
    pair = made_pair()
    measures, one = ImageMeasures(pair, None, False), made_samples(pair, 1)
    assert measures.measure(one, deterministic=True)[0]["pixel_deviation"] == 0
    assert measures.measure(one, deterministic=True)[0]["diversity_squared_error"] == 0
    assert not {"pixel_deviation", "diversity_squared_error"} & measures.measure(one, deterministic=False)[0].keys()


def test_set_measures_merge_to_those_of_all() -> None:
    pairs = [made_pair(seed) for seed in range(4)]
    whole, parts = SetMeasures(), [SetMeasures(), SetMeasures()]
    for i, pair in enumerate(pairs):
        samples = made_samples(pair, seed=i)
        whole.add(samples, pair.hr)
        parts[i % 2].add(samples, pair.hr)
    merged = SetMeasures()
    for part in reversed(parts):
        merged.merge(part.state())
    assert merged.figures() == pytest.approx(whole.figures(), rel=1e-12, nan_ok=True)


def test_intervals() -> None:
    assert interval([1.0, 2.0, 3.0, 6.0]) == pytest.approx((3.0, 3.182 * math.sqrt(14 / 3) / 2, 4), rel=1e-3)
    assert interval([5.0]) == (5.0, None, 1)
    assert interval([5.0, math.inf]) == (math.inf, None, 2)
    published = {1: 12.706, 2: 4.303, 10: 2.228, 11: 2.201, 20: 2.086, 99: 1.984, 1000: 1.962}
    assert {k: round(student(k), 3) for k in published} == published


# rows


def test_rows_of_a_flow_and_of_encoders(tiny_model: NCSR) -> None:
    request = SampleRequest(5, 0.0, 0, 160)
    rows = [m.row for m in methods_of("models/tiny", tiny_model, request, [0.9, 0.5])]
    assert [(r.name, r.temperature, r.samples, r.deterministic) for r in rows] == [
        ("tiny, t = 0", 0.0, 1, True),
        ("tiny, t = 0.5", 0.5, 5, False),
        ("tiny, t = 0.9", 0.9, 5, False),
    ]
    assert [m.row.temperature for m in methods_of("tiny", tiny_model, request, [])] == [0.0, 0.8]
    (alone,) = methods_of("tiny:encoder", encoder_alone(tiny_model), request, [0.9])
    assert (alone.row.samples, alone.row.deterministic, alone.row.temperature) == (1, True, None)
    assert alone.row.fingerprint != rows[0].fingerprint
    pair = made_pair()
    image = tiny_model.encoder(pair.lr[None].float() / 255).clamp(0, 1)
    assert torch.allclose(alone.samples(pair), image, atol=1e-6)
    assert alone.bits_per_dim(pair) is None


@pytest.mark.parametrize(
    ("argument", "name"),
    [
        ("x4-small", "x4-small"),
        ("nets/mine", "mine"),
        ("runs/first/model", "first"),
        ("runs/first/model/model.safetensors", "first"),
        ("runs/first/best", "best"),
        ("model", "model"),
    ],
)
def test_what_models_are_called(argument: str, name: str) -> None:
    assert short_name(argument) == name


def test_esrgan_plus_draws_its_noise() -> None:
    (noisy,) = methods_of("plus", lively_encoder("esrgan+", torch.float32), SampleRequest(3, 0.0, 0, 160), [])
    samples = noisy.samples(made_pair())
    assert (noisy.row.samples, noisy.row.deterministic) == (3, False)
    assert samples[0].sub(samples[1]).abs().max() > 0


# pictures


def test_places() -> None:
    hr = torch.full((3, 200, 240), 128, dtype=torch.uint8)
    hr[:, :, 120:] = torch.randint(256, (3, 200, 120), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    error = torch.ones(200, 240)
    error[:, :110] = 0  # where nothing can be wrong
    error[8:72, 160:224] = 9
    error[120:184, 168:232] = 0.5
    assert find_crops(error, hr) == {"worst": (8, 160, 64), "best": (120, 168, 64)}
