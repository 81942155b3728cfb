"""The streaming classes against the functions on all images at once, in one process and in two."""

from __future__ import annotations

import importlib
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

import ncsr
from ncsr import metrics
from ncsr.errors import InputError
from ncsr.metrics import streaming, texture
from ncsr.ops.resize import imresize

SCALE = 4
FIGURES = {
    "luma_psnr", "rgb_psnr", "luma_ssim", "rgb_ssim", "lr_psnr_mean", "lr_psnr_worst", "ntire_lr_psnr_mean",
    "ntire_lr_psnr_worst", "pixel_deviation", "diversity_squared_error", "texture_distance", "grain",
    "lpips", "lpips_plain", "diversity",
}  # fmt: skip


def photographs(count: int = 4) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Samples (3, 1, 3, 44, 52), photograph (1, 3, 44, 52) and LR image; noisy, half of it smooth."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for i in range(count):
        roughness = torch.where(torch.arange(52) < 32, 0.004 + 0.001 * i, 0.2)
        hr = (0.5 + roughness * torch.randn(1, 3, 44, 52, generator=generator)).clamp(0, 1)
        samples = (hr + 0.02 * torch.randn(3, 1, 3, 44, 52, generator=generator)).clamp(0, 1)
        found.append((samples, hr, imresize(metrics.eight_bit(hr), 1 / SCALE)))
    return found


def together(group: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """The same as one batch."""
    samples, hr, lr = zip(*group, strict=True)
    return torch.cat(samples, 1), torch.cat(hr), torch.cat(lr)


def values(collection: MetricCollection) -> dict[str, float]:
    return {name: figure.item() for name, figure in collection.compute().items()}


@pytest.fixture(scope="module", autouse=True)
def _few_directions() -> Iterator[None]:
    """A quicker texture distance."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texture, "DIRECTIONS", 16)
        yield


@pytest.fixture(scope="module")
def everything() -> dict[str, float]:
    """Every figure of four photographs, one per update."""
    measures = streaming.all_measures(SCALE)
    for photograph in photographs():
        measures.update(*photograph)
    return values(measures)


def test_names_and_range(everything: dict[str, float]) -> None:
    assert set(everything) == FIGURES
    assert 20 < everything["rgb_psnr"] < everything["luma_psnr"] < 50
    assert 0 < everything["luma_ssim"] < 1
    assert everything["lr_psnr_worst"] < everything["lr_psnr_mean"]
    assert 0 < everything["diversity"] < 100


def test_figures_are_those_of_the_functions(everything: dict[str, float]) -> None:
    samples, hr, lr = together(photographs())
    lr_psnrs, ntire = metrics.lr_psnr(samples, lr), metrics.ntire_lr_psnr(samples, hr, SCALE)
    scores = metrics.ntire_lpips(metrics.LPIPS(), samples, hr)
    sampled, photographed = metrics.TexturePatches(), metrics.TexturePatches()
    sampled.add(samples)
    photographed.add(hr)
    expected = {
        "luma_psnr": metrics.luma_psnr(samples, hr, SCALE).mean(),
        "rgb_psnr": metrics.rgb_psnr(samples, hr, SCALE).mean(),
        "luma_ssim": metrics.luma_ssim(samples, hr, SCALE).mean(),
        "rgb_ssim": metrics.rgb_ssim(samples, hr, SCALE).mean(),
        "lr_psnr_mean": metrics.mean_and_worst(lr_psnrs).mean,
        "lr_psnr_worst": metrics.mean_and_worst(lr_psnrs).worst,
        "ntire_lr_psnr_mean": metrics.mean_and_worst(ntire).mean,
        "ntire_lr_psnr_worst": metrics.mean_and_worst(ntire).worst,
        "pixel_deviation": metrics.pixel_deviation(samples).mean(),
        "diversity_squared_error": metrics.diversity_squared_error(samples, hr).mean(),
        "texture_distance": metrics.texture_distance(sampled.patches(), photographed.patches()),
        "lpips": scores.spatial.mean(),
        "lpips_plain": scores.plain.mean(),
        "diversity": metrics.diversity(scores.maps).mean(),
    }
    for name, value in expected.items():  # diversity is a difference of float32 scores
        assert everything[name] == pytest.approx(float(value), rel=1e-5), name
    assert everything["grain"] == pytest.approx(metrics.smooth_block_grain(samples, hr).ratio, rel=2e-3)
    assert everything["grain"] > 1.5


def test_batches_do_not_matter(everything: dict[str, float]) -> None:
    measures = streaming.all_measures(SCALE)
    for pair in (photographs()[:3], photographs()[3:]):
        measures.update(*together(pair))
    assert values(measures) == pytest.approx(everything, rel=1e-5)


def test_what_is_refused_is_not_counted(everything: dict[str, float]) -> None:
    measures = streaming.all_measures(SCALE)
    for photograph in photographs():
        samples, hr, lr = photograph
        for wrong in (
            (2 * samples - 1, hr, lr),
            (samples, 255 * hr, lr),
            (samples, hr, lr * torch.nan),
            (samples, hr, None),
            (samples[..., :28, :28], hr[..., :28, :28], lr[..., :7, :7]),  # too small for LPIPS alone
        ):
            for call in (measures.update, measures):  # the second gives the figures of this photograph, too
                with pytest.raises(InputError):
                    call(*wrong)
        measures.update(*photograph)
    assert values(measures) == pytest.approx(everything, rel=1e-9)


def test_without_a_batch_axis(everything: dict[str, float]) -> None:
    measures = streaming.all_measures(SCALE)
    for samples, hr, lr in photographs():
        measures.update(samples[:, 0], hr[0], lr[0])
    assert values(measures) == pytest.approx(everything, rel=1e-6)


def test_states_merge(everything: dict[str, float]) -> None:
    parts = [streaming.all_measures(SCALE) for _ in range(2)]
    for i, photograph in enumerate(photographs()):
        parts[i % 2].update(*photograph)
    for name, metric in parts[0].items(keep_base=True):
        metric.merge_state(parts[1][name])
    assert values(parts[0]) == pytest.approx(everything, rel=1e-9)


def test_forward_gives_the_image_and_keeps_the_mean() -> None:
    for metric in (streaming.LumaPSNR(SCALE), streaming.TextureDistance(), streaming.SmoothBlockGrain()):
        single = [float(next(iter(metric(*photograph).values()))) for photograph in photographs(2)]
        apart = metric.clone()
        apart.reset()
        for photograph in photographs(2):
            apart.update(*photograph)
        assert single[0] != single[1]
        assert metric.compute() == apart.compute()


def test_memory_is_flat() -> None:
    measures, sizes = streaming.all_measures(SCALE), []
    for photograph in photographs(3):
        measures.update(*photograph)
        sizes.append(len(pickle.dumps([metric.metric_state for metric in measures.values()])))
    assert sizes == pytest.approx([sizes[0]] * 3, abs=100)  # what names the storages varies by bytes
    assert sizes[0] < 50e6


def test_a_collection_keeps_equal_figures_apart() -> None:
    """Collections group metrics whose states agree at first: here both kinds of LR-PSNR, until sides are not of 8."""
    measures = MetricCollection([streaming.LRPSNR(), streaming.NtireLRPSNR(SCALE)])
    for height in (40, 44):
        samples, hr, _ = photographs(1)[0]
        hr = hr[..., :height, :48]
        measures.update(samples[..., :height, :48], hr, imresize(metrics.eight_bit(hr), 1 / SCALE))
    figures = values(measures)
    assert figures["lr_psnr_mean"] != figures["ntire_lr_psnr_mean"]


def test_weights_are_no_state() -> None:
    metric = streaming.NtireLPIPS()
    assert metric.state_dict() == {}
    assert list(metric.parameters()) == []


def test_bits_per_dim(tiny_model: ncsr.NCSR) -> None:
    metric, expected = streaming.BitsPerDim(), []
    for _, hr, lr in photographs(2):
        space = tiny_model.space(lr.float() / 255)
        metric.update(space, hr)
        expected.append(metrics.dequantised_bits_per_dim(space, hr).item())
    assert metric.compute()["bits_per_dim"].item() == pytest.approx(sum(expected) / 2)


def test_truncation() -> None:
    samples, hr, lr = photographs(1)[0]
    measures = streaming.all_measures(SCALE, truncate=True)
    measures.update(samples, hr, lr)
    figures = values(measures)
    assert figures["lr_psnr_mean"] == pytest.approx(metrics.lr_psnr(samples, lr, truncate=True).mean().item())
    assert figures["ntire_lr_psnr_mean"] == pytest.approx(
        metrics.ntire_lr_psnr(samples, hr, SCALE, truncate=True).mean().item()
    )


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (streaming.LRPSNR(), "LR-PSNR needs the LR images"),
        (streaming.LumaPSNR(SCALE), "photograph"),
        (streaming.TextureDistance(), "photograph"),
    ],
)
def test_wrong_input(metric: Metric, words: str) -> None:
    _, hr, _ = photographs(1)[0]
    with pytest.raises(InputError, match=words):
        metric.update(hr, hr)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_grain_without_smooth_blocks_is_nan() -> None:
    assert streaming.SmoothBlockGrain().compute()["grain"].isnan()
    assert streaming.TextureDistance().compute()["texture_distance"].isnan()  # before anything came


def test_without_torchmetrics(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchmetrics"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"pip install 'ncsr\[eval\]'"):
        metrics.luma_ssim(torch.rand(3, 32, 32), torch.rand(3, 32, 32), 4)
    monkeypatch.delitem(sys.modules, "ncsr.metrics.streaming")
    with pytest.raises(InputError, match=r"pip install 'ncsr\[eval\]'"):
        importlib.import_module("ncsr.metrics.streaming")
    assert metrics.luma_psnr(torch.rand(3, 32, 32), torch.rand(3, 32, 32), 4) > 0


def test_the_package_imports_without_torchmetrics() -> None:
    code = "import sys, ncsr.metrics, ncsr.cli; sys.exit('torchmetrics' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


PROCESS = """
import sys
import torch
torch.distributed.init_process_group("gloo")
from ncsr.metrics import streaming, texture
from tests.metrics.test_streaming import SCALE, photographs, values
texture.DIRECTIONS = 16
rank = torch.distributed.get_rank()
measures = streaming.all_measures(SCALE)
for photograph in photographs()[:3] if rank == 0 else photographs()[3:]:
    measures.update(*photograph)
figures = values(measures)
if rank == 1:
    torch.save(figures, sys.argv[1])
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes(everything: dict[str, float], tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    command = [sys.executable, "-c", PROCESS, str(tmp_path / "figures")]
    root = Path(__file__).parents[2]
    processes = [subprocess.Popen(command, env=environment | {"RANK": str(rank)}, cwd=root) for rank in range(2)]
    try:
        assert [process.wait(timeout=300) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    assert torch.load(tmp_path / "figures") == pytest.approx(everything, rel=1e-9)
