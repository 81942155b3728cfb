"""LPIPS: the NTIRE 2021 golden numbers through the real loading code, its laws, and the ways to its weights."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ncsr import metrics
from ncsr.cli import main
from ncsr.errors import InputError
from ncsr.metrics import lpips_weights
from ncsr.metrics.lpips import SHAPES
from tests.parity import golden, parameter

LAYERS = (0, 3, 6, 8, 10)


@cache
def alexnet() -> Mapping[str, Tensor]:
    """A made state dict with torchvision's names and shapes; the convolutions are those of the golden numbers."""
    state = {}
    for i, (layer, shape) in enumerate(zip(LAYERS, SHAPES, strict=True), 1):
        for part, of_part in (("weight", shape), ("bias", shape[:1])):
            value = parameter(f"net.slice{i}.{layer}.{part}", of_part, "lpips")
            state[f"features.{layer}.{part}"] = torch.from_numpy(value)
    for layer, shape in ((1, (4096, 9216)), (4, (4096, 4096)), (6, (1000, 4096))):  # full shapes, one stored number
        state[f"classifier.{layer}.weight"] = torch.zeros(()).expand(shape)
        state[f"classifier.{layer}.bias"] = torch.zeros(()).expand(shape[:1])
    return state


def features() -> dict[str, Tensor]:
    return {name: value for name, value in alexnet().items() if name.startswith("features")}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "made.pth"
    torch.save(dict(alexnet()), path)
    return path


@pytest.fixture(scope="module")
def lpips(weights: Path) -> metrics.LPIPS:
    return metrics.load_lpips(weights)


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the weights would lie in an empty cache, on a machine without a network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(lpips_weights, "URL", "http://127.0.0.1:9/" + lpips_weights.NAME)
    return tmp_path / "cache" / "hub" / "checkpoints" / lpips_weights.NAME


@pytest.fixture
def published(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The made weights, taken for the published ones."""
    monkeypatch.setattr(lpips_weights, "HASH", lpips_weights.sha256(weights)[:8])
    return weights


def ntire_images() -> tuple[Tensor, Tensor, Mapping[str, Tensor]]:
    arrays = golden("ntire_metrics_x4")
    return arrays["samples"].movedim(-1, -3), arrays["gt"].movedim(-1, -3), arrays


def random_images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


# the measure


@pytest.mark.parametrize("as_float", [False, True])
def test_ntire_golden(lpips: metrics.LPIPS, as_float: bool) -> None:
    samples, hr, expected = ntire_images()
    if as_float:
        samples, hr = samples.float() / 255, hr.float() / 255
    scores = metrics.ntire_lpips(lpips, samples, hr)
    tight = {"rtol": 0, "atol": 1e-7}  # a hundredth of what is asked for; the figures are 0.01
    torch.testing.assert_close(scores.maps[0], expected["lpips_map_0"], rtol=0, atol=1e-6)
    torch.testing.assert_close(scores.spatial, expected["lpips_spatial_mean"], **tight)
    torch.testing.assert_close(scores.plain, expected["lpips_plain"], **tight)
    assert scores.spatial.mean().item() == pytest.approx(expected["LPIPS_mean"].item(), abs=1e-7)
    # The golden 13.06983 is 100 times a difference of float32 means over one of them; in float64 it is 3e-5 more.
    assert metrics.diversity(scores.maps).item() == pytest.approx(expected["score"].item(), rel=5e-6)


def test_a_batch_is_its_images(lpips: metrics.LPIPS) -> None:
    samples, hr = random_images(3, 2, 3, 40, 48), random_images(2, 3, 40, 48, seed=1)
    scores = lpips.reference(hr).compare(samples)
    assert scores.maps.shape == (3, 2, 40, 48)
    assert scores.plain.shape == scores.spatial.shape == (3, 2)
    alone = lpips.reference(hr[1]).compare(samples[2:, 1])
    torch.testing.assert_close(alone.plain[0], scores.plain[2, 1])
    torch.testing.assert_close(alone.maps[0], scores.maps[2, 1])
    torch.testing.assert_close(lpips.reference(hr).distance(samples), scores.plain)


def test_equal_images_are_exactly_zero_apart(lpips: metrics.LPIPS) -> None:
    hr = random_images(3, 33, 47)
    scores = lpips.reference(hr).compare(torch.stack([hr, hr.flip(-1)]))
    assert scores.maps[0].max() == 0
    assert scores.plain[0] == 0
    assert scores.plain[1] > 0
    assert scores.spatial[1] > 0


def test_the_photograph_is_looked_at_once(lpips: metrics.LPIPS, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[tuple[int, ...]] = []
    features = metrics.LPIPS.features

    def counting(self: metrics.LPIPS, images: Tensor) -> list[Tensor]:
        looks.append(tuple(images.shape))
        return features(self, images)

    monkeypatch.setattr(metrics.LPIPS, "features", counting)
    lpips.reference(random_images(3, 32, 32)).compare(random_images(10, 3, 32, 32, seed=1))
    assert looks == 11 * [(1, 3, 32, 32)]


def test_a_reference_serves_again(lpips: metrics.LPIPS) -> None:
    reference, samples = lpips.reference(random_images(3, 32, 32)), random_images(2, 3, 32, 32, seed=1)
    assert torch.equal(reference.distance(samples), reference.distance(samples))


def test_float32_under_autocast_without_gradients(lpips: metrics.LPIPS) -> None:
    hr, samples = random_images(3, 32, 32), random_images(1, 3, 32, 32, seed=1).requires_grad_()
    plain = lpips.reference(hr).distance(samples)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(lpips.reference(hr).distance(samples), plain)
    assert not plain.requires_grad
    assert list(lpips.parameters()) == []
    assert lpips.state_dict() == {}


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (random_images(3, 32, 32) * 2 - 1, r"in \[0, 1\], got values from -.* \(x \+ 1\) / 2"),
        (random_images(3, 32, 32) * 255, r"in \[0, 1\], got values from .* to 25"),
        (torch.full((3, 32, 32), torch.nan), r"in \[0, 1\], got values from nan"),
        (torch.zeros(3, 32, 32, dtype=torch.int64), "int64"),
        (random_images(3, 30, 32), "31 x 31"),
        (random_images(1, 32, 32), r"\(1, 32, 32\)"),
    ],
)
def test_wrong_images_are_one_sentence(lpips: metrics.LPIPS, images: Tensor, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        lpips.reference(images)
    assert "\n" not in str(error.value)


def test_wrong_samples(lpips: metrics.LPIPS) -> None:
    hr = random_images(3, 32, 40)
    with pytest.raises(InputError, match="photograph"):
        lpips.reference(hr).compare(hr)
    with pytest.raises(InputError, match=r"in \[0, 1\]"):
        lpips.reference(hr).compare(2 * hr[None])
    with pytest.raises(InputError, match=r"in \[0, 1\]"):  # not clamped on the way to 8 bits
        metrics.ntire_lpips(lpips, 2 * hr[None] - 1, hr)


# the weights


@pytest.mark.parametrize("zipped", [True, False])
def test_both_file_formats_of_torch(tmp_path: Path, lpips: metrics.LPIPS, zipped: bool) -> None:
    path = tmp_path / "alexnet.pth"
    torch.save(features(), path, _use_new_zipfile_serialization=zipped)
    other, hr = metrics.load_lpips(path), random_images(3, 32, 32)
    assert torch.equal(other.reference(hr).distance(1 - hr[None]), lpips.reference(hr).distance(1 - hr[None]))


def test_wrong_weights(tmp_path: Path) -> None:
    def loading(state: object) -> None:
        torch.save(state, tmp_path / "wrong.pth")
        metrics.load_lpips(tmp_path / "wrong.pth")

    with pytest.raises(InputError, match="no file"):
        metrics.load_lpips(tmp_path / "nothing.pth")
    with pytest.raises(InputError, match="read safely"):
        loading({"features.0.weight": Path("code")})
    with pytest.raises(InputError, match=r"features.0.bias of shape \(64,\), got nothing"):
        loading({"features.0.weight": alexnet()["features.0.weight"]})
    with pytest.raises(InputError, match=r"features.3.weight of shape .* got \(192, 64, 3, 3\)"):
        loading(features() | {"features.3.weight": torch.zeros(192, 64, 3, 3)})
    with pytest.raises(InputError, match="more for different ones, got 0 and 0"):
        loading({name: torch.zeros_like(value) for name, value in features().items()})
    with pytest.raises(InputError, match=r"0 for a pair of equal images .* got nan"):
        loading(features() | {"features.6.bias": torch.full((384,), torch.nan)})


def test_the_source_says_which_weights(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = lpips_weights.sha256(weights)
    assert metrics.load_lpips(weights).source == f"AlexNet v0.1, other weights, SHA-256 {digits}"
    monkeypatch.setattr(lpips_weights, "HASH", digits[:8])
    assert metrics.load_lpips(weights).source == "AlexNet v0.1, published weights alexnet-owt-7be5be79.pth"


@pytest.mark.usefixtures("cached")
def test_a_named_file_is_not_downloaded(weights: Path) -> None:
    assert metrics.load_lpips(weights) is not None


def test_without_weights_and_network(cached: Path) -> None:
    with pytest.raises(InputError) as error:
        metrics.load_lpips()
    sentence = str(error.value)
    for words in (lpips_weights.NAME, str(cached), "127.0.0.1", "ncsr fetch", "--lpips-weights"):
        assert words in sentence
    assert "\n" not in sentence
    assert list(cached.parent.iterdir()) == []


def test_download(cached: Path, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lpips_weights, "URL", published.as_uri())
    assert metrics.load_lpips().source.startswith("AlexNet v0.1, published")
    assert [cached] == list(cached.parent.iterdir())
    monkeypatch.setattr(lpips_weights, "URL", "http://127.0.0.1:9/")
    assert metrics.fetch_weights() == cached  # from the cache


def test_a_download_with_another_hash_is_not_kept(cached: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lpips_weights, "URL", weights.as_uri())
    with pytest.raises(InputError, match="SHA-256 that starts with 7be5be79, got"):
        metrics.fetch_weights()
    assert list(cached.parent.iterdir()) == []


def test_a_damaged_cache(cached: Path, published: Path) -> None:
    cached.parent.mkdir(parents=True)
    cached.write_bytes(published.read_bytes()[:1000])
    with pytest.raises(InputError, match="damaged"):
        metrics.load_lpips()


# ncsr fetch


def fetch(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["ncsr", "fetch", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    assert isinstance(end.value.code, int)
    return end.value.code


def test_fetch_from_a_file(
    cached: Path, published: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(monkeypatch, "--from", published) == 0
    assert capsys.readouterr().out == f"{cached}\n"
    assert cached.read_bytes() == published.read_bytes()
    assert fetch(monkeypatch) == 0  # it is there
    assert capsys.readouterr().out == f"{cached}\n"


def test_fetch_to_a_folder(
    cached: Path, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lpips_weights, "URL", published.as_uri())
    assert fetch(monkeypatch, "--to", tmp_path / "stick") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'stick' / lpips_weights.NAME}\n"
    assert not cached.exists()


@pytest.mark.usefixtures("cached")
def test_fetch_errors(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, words in (
        ((), "could not be downloaded"),
        (("--from", tmp_path / "nothing"), "cannot copy .*nothing"),
        (("--from", weights), "made.pth is not alexnet-owt-7be5be79.pth"),
        (("--to", weights), "is a file"),
    ):
        assert fetch(monkeypatch, *arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        lines = [line for line in err.splitlines() if line.startswith("ncsr: ")]
        assert len(lines) == 1, err
        assert re.search(words, lines[0]), err
