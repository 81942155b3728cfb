"""LPIPS: the NTIRE 2021 golden numbers through the real loading code, its laws, and its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from ncsr import metrics
from ncsr.errors import InputError
from ncsr.ops.resize import imresize
from tests.metrics.made import ALEXNET, ntire_images, random_images
from tests.parity import parameter

BUNDLED = Path(metrics.__file__).parent / "lpips_alex"


@cache
def alexnet() -> Mapping[str, Tensor]:
    """A made state dict with torchvision's names and shapes; the convolutions are those of the golden numbers."""
    state = {}
    for i, (layer, shape) in enumerate(ALEXNET.items(), 1):
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
    return metrics.LPIPS(weights)


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
    # 100 times a difference of float32 scores over one eight times as large: an ulp in every convolution moves it by
    # 7e-6, and the golden 13.06983 is of float32 means, 3e-5 less than in float64.
    assert metrics.diversity(scores.maps).item() == pytest.approx(expected["score"].item(), rel=5e-5)


def test_a_batch_is_its_images(lpips: metrics.LPIPS) -> None:
    samples, hr = random_images(3, 2, 3, 40, 48), random_images(2, 3, 40, 48, seed=1)
    scores = lpips.reference(hr).compare(samples)
    assert scores.maps.shape == (3, 2, 40, 48)
    assert scores.plain.shape == scores.spatial.shape == (3, 2)
    alone = lpips.reference(hr[1]).compare(samples[2:, 1])
    torch.testing.assert_close(alone.plain[0], scores.plain[2, 1])
    torch.testing.assert_close(alone.maps[0], scores.maps[2, 1])


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
    assert torch.equal(reference.compare(samples).plain, reference.compare(samples).plain)


def test_float32_under_autocast_without_gradients(lpips: metrics.LPIPS) -> None:
    hr, samples = random_images(3, 32, 32), random_images(1, 3, 32, 32, seed=1).requires_grad_()
    plain = lpips.reference(hr).compare(samples).plain
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(lpips.reference(hr).compare(samples).plain, plain)
    assert not plain.requires_grad
    assert list(lpips.parameters()) == []
    assert lpips.state_dict() == {}


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (random_images(3, 32, 32) * 2 - 1, r"in \[0, 1\], got values from -.* \(x \+ 1\) / 2"),
        (random_images(3, 32, 32) * 255, r"in \[0, 1\], got values from .* to 25"),
        (torch.full((3, 32, 32), torch.nan), "finite images, got infinities or NaN"),
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
    other, hr = metrics.LPIPS(path), random_images(3, 32, 32)
    assert torch.equal(other.reference(hr).compare(1 - hr[None]).plain, lpips.reference(hr).compare(1 - hr[None]).plain)


def test_wrong_weights(tmp_path: Path) -> None:
    def loading(state: object) -> None:
        torch.save(state, tmp_path / "wrong.pth")
        metrics.LPIPS(tmp_path / "wrong.pth")

    with pytest.raises(InputError, match="no file"):
        metrics.LPIPS(tmp_path / "nothing.pth")
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


def test_the_source_says_which_weights(weights: Path, tmp_path: Path) -> None:
    digits = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert metrics.LPIPS(weights).source == f"AlexNet v0.1, other weights, SHA-256 {digits}"
    bundled = load_file(BUNDLED / "convolutions.safetensors")
    state = {f"features.{[*ALEXNET][int(name[0])]}.{name[2:]}": value for name, value in bundled.items()}
    torch.save(state, tmp_path / "again.pth")
    published = "AlexNet v0.1, published weights alexnet-owt-7be5be79.pth"
    assert [metrics.LPIPS(path).source for path in (None, tmp_path / "again.pth")] == [published, published]
    assert metrics.LPIPS().source == published


# the bundled weights


def cat() -> tuple[Tensor, Tensor]:
    """A photograph's bicubic enlargement by four, and the photograph, (3, 72, 112) in [0, 1]."""
    with Image.open(Path(__file__).parents[2] / "examples/cat.png") as picture:
        hr = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[:, :72]
    return imresize(imresize(hr, 0.25), 4) / 255, hr / 255


def plain_lpips(a: Tensor, b: Tensor) -> tuple[Tensor, float]:
    """The map (H, W) and the plain score of two images (3, H, W) in [0, 1], by the formula alone, in float64."""
    weights = {
        name: value.double() for path in BUNDLED.glob("*.safetensors") for name, value in load_file(path).items()
    }
    shift, scale = (torch.tensor(v).double()[:, None, None] for v in ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)))
    x, total, plain = (2 * torch.stack([a, b]).double() - 1 - shift) / scale, torch.zeros(a.shape[1:]).double(), 0.0
    for i, (stride, padding) in enumerate(((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))):
        if i in (1, 2):
            x = F.max_pool2d(x, 3, 2)
        x = F.conv2d(x, weights[f"{i}.weight"], weights[f"{i}.bias"], stride, padding).relu()
        unit = x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)
        distance = ((unit[0] - unit[1]).square() * weights[f"linear{i}"][:, None, None]).sum(0)
        plain += distance.mean().item()
        total += F.interpolate(distance[None, None], a.shape[1:], mode="bilinear", align_corners=False)[0, 0]
    return total, plain


def test_the_bundled_weights_give_the_scores_of_the_formula() -> None:
    """Against the formula in float64, and against what it gave once, so that a change of the weights is seen, too."""
    blurred, hr = cat()
    scores = metrics.LPIPS().reference(hr).compare(blurred[None])
    expected, plain = plain_lpips(blurred, hr)
    torch.testing.assert_close(scores.maps[0].double(), expected, rtol=0, atol=2e-6)
    assert scores.plain.item() == pytest.approx(plain, rel=1e-5)
    assert (scores.spatial.item(), scores.plain.item()) == pytest.approx((0.48375059, 0.48371751), rel=1e-5)


def test_the_bundled_weights_give_a_distance() -> None:
    lpips, (blurred, hr) = metrics.LPIPS(), cat()
    there, back = (lpips.reference(a).compare(torch.stack([a, b])) for a, b in ((hr, blurred), (blurred, hr)))
    for scores in (there, back):
        assert scores.maps.min() >= 0
        assert scores.maps[0].max() == 0
        assert scores.spatial[1] > 0.01
    torch.testing.assert_close(there.maps[1], back.maps[1])
    assert all((value >= 0).all() for value in load_file(BUNDLED / "linear.safetensors").values())


def test_two_networks_share_no_weights() -> None:
    first = metrics.LPIPS()
    first.get_buffer("bias0").add_(1)
    assert not torch.equal(metrics.LPIPS().get_buffer("bias0"), first.get_buffer("bias0"))


def test_what_is_too_small_once_it_is_cropped_is_told_by_its_own_size() -> None:
    image = torch.rand(3, 31, 40)
    with pytest.raises(InputError, match=r"32 x 32 pixels, got \(3, 31, 40\)"):
        metrics.ntire_lpips(metrics.LPIPS(), image[None], image)
