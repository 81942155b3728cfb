"""LPIPS: distance between two images as a network trained on photographs sees them.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (CVPR 2018), AlexNet, version
0.1. With phi_l(x) the activations of AlexNet's convolution l = 1..5 after its ReLU, every pixel's channels divided by
their norm, and w_l >= 0 the published linear layer of C_l weights:

    d_l(x, y) at a pixel = sum over channels of w_l (phi_l(x) - phi_l(y))^2
    plain:    sum over l of the mean of d_l over its own pixels
    spatial:  sum over l of d_l enlarged to the image (bilinear, align_corners = False): one score per pixel

NTIRE 2021 reports the mean of the spatial map. Everything is float32, whatever autocast is on. AlexNet's convolutions
and the linear layers come with the package (`lpips_alex/README.md`).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ncsr.errors import InputError
from ncsr.metrics.pixels import check_samples, check_unit_range, crop_to_multiple, eight_bit
from ncsr.ops.precision import full_precision
from ncsr.runtime.files import file_hash
from ncsr.serialization import read_checkpoint

SMALLEST = 31  # pixels of a side: less leaves the last three convolutions nothing to look at
_SMALLEST_CROPPED = 32  # the same of images that are cropped to multiples of 8

_CONVOLUTIONS, _LINEAR = (Path(__file__).parent / "lpips_alex" / f"{n}.safetensors" for n in ("convolutions", "linear"))
_TORCHVISION = "alexnet-owt-7be5be79.pth"  # the file that the bundled convolutions are of
_LAYERS = (0, 3, 6, 8, 10)  # the convolutions' places in torchvision's `features`
_STRIDES, _PADDINGS = (4, 1, 1, 1, 1), (2, 2, 1, 1, 1)
_POOLED = (False, True, True, False, False)  # a 3 x 3 maximum of stride 2 comes before the convolution
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of images in [-1, 1]


class LPIPSScores(NamedTuple):
    """LPIPS of n samples against one photograph, or a batch of them."""

    maps: Tensor
    """(n, ..., H, W) float32: the spatial score, 0 or more."""
    plain: Tensor
    """(n, ...) float64: the sum of the layers' means."""

    @property
    def spatial(self) -> Tensor:
        """(n, ...) float64: the means of the maps, which NTIRE 2021 reports."""
        return self.maps.mean((-2, -1), dtype=torch.float64)


class LPIPS(nn.Module):
    """AlexNet's convolutions and the published linear layers, frozen.

    Args:
        weights: a file like torchvision's AlexNet (.pth), read without running code in it; None takes the bundled
            convolutions.

    Raises:
        InputError: no such file, not a checkpoint, another network's, or weights that do not give 0 for a pair of equal
            images and more for a pair of different ones.
    """

    source: str
    """Whose weights these are, for reports."""

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        published, linear = load_file(_CONVOLUTIONS), load_file(_LINEAR)
        convolutions, known = published, f"published weights {_TORCHVISION}"
        if weights is not None:
            convolutions = _read_convolutions(weights)
            if not all(torch.equal(convolutions[name], value) for name, value in published.items()):
                known = f"other weights, SHA-256 {file_hash(weights)}"
        self.source = f"AlexNet v0.1, {known}"
        like = linear["linear0"]
        constants = {"shift": like.new_tensor(_SHIFT), "scale": like.new_tensor(_SCALE)}
        for i in range(len(_LAYERS)):
            constants[f"weight{i}"] = convolutions[f"{i}.weight"].contiguous(memory_format=torch.channels_last)
            constants[f"bias{i}"] = convolutions[f"{i}.bias"]
            constants[f"linear{i}"] = linear[f"linear{i}"]
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)
        self._check()

    def reference(self, hr: Tensor) -> LPIPSReference:
        """The photograph's side of the comparison, computed once for all its samples.

        Args:
            hr: (..., 3, H, W) from 31 x 31 pixels up, floating point in [0, 1], taken as it is, or uint8.

        Raises:
            InputError: another range, shape or type.
        """
        return LPIPSReference(self, hr)

    @torch.no_grad()
    def features(self, images: Tensor) -> list[Tensor]:
        """The normalised activations phi_l of images (B, 3, H, W) in [0, 1], in channels-last memory."""
        shift, scale = (self.get_buffer(name)[:, None, None] for name in ("shift", "scale"))
        x = (2 * images.to(shift) - 1 - shift) / scale
        x = x.contiguous(memory_format=torch.channels_last)
        found = []
        with full_precision(x.device):
            for i, (stride, padding, pooled) in enumerate(zip(_STRIDES, _PADDINGS, _POOLED, strict=True)):
                x = F.max_pool2d(x, 3, 2) if pooled else x
                weight, bias = self.get_buffer(f"weight{i}"), self.get_buffer(f"bias{i}")
                x = F.conv2d(x, weight, bias, stride, padding).relu_()
                found.append(x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10))
        return found

    @torch.no_grad()
    def layer_distances(self, features: list[Tensor], others: list[Tensor]) -> list[Tensor]:
        """The five d_l, (B, 1, H_l, W_l), of `features`, which are overwritten, and `others`."""
        with full_precision(features[0].device):
            return [
                F.conv2d(a.sub_(b).square_(), self.get_buffer(f"linear{i}")[None, :, None, None])
                for i, (a, b) in enumerate(zip(features, others, strict=True))
            ]

    def _check(self) -> None:
        generator = torch.Generator().manual_seed(0)
        noise = torch.rand(1, 3, 64, 64, generator=generator, dtype=torch.float32, device="cpu")
        equal, different = self.reference(noise).compare(torch.stack([noise, noise.flip(-1)])).plain.flatten().tolist()
        if equal != 0 or not different > 0:
            raise InputError(
                f"LPIPS must give 0 for a pair of equal images and more for different ones, got {equal:g} and "
                f"{different:g} with {self.source}: these are not AlexNet's weights"
            )


class LPIPSReference:
    """A photograph (or a batch) that samples are compared with: `LPIPS.reference`."""

    def __init__(self, lpips: LPIPS, hr: Tensor) -> None:
        self._lpips, self._hr = lpips, hr
        self._features = lpips.features(_checked_batch(hr))

    def compare(self, samples: Tensor) -> LPIPSScores:
        """Spatial and plain LPIPS of samples (n, ..., 3, H, W), floating point in [0, 1] or uint8; computed one by one.

        Raises:
            InputError: another range or type; another shape than the photograph's.
        """
        check_samples(samples, self._hr)
        size, leading = self._hr.shape[-2:], samples.shape[:-3]
        maps, plain = [], []
        for sample in samples:
            distances = self._lpips.layer_distances(self._lpips.features(_checked_batch(sample)), self._features)
            enlarged = [F.interpolate(d, size, mode="bilinear", align_corners=False) for d in distances]
            maps.append(torch.stack(enlarged).sum(0))
            plain.append(torch.stack([d.mean((1, 2, 3), dtype=torch.float64) for d in distances]).sum(0))
        return LPIPSScores(torch.stack(maps).reshape(*leading, *size), torch.stack(plain).reshape(leading))


def ntire_lpips(lpips: LPIPS, samples: Tensor, hr: Tensor) -> LPIPSScores:
    """LPIPS as NTIRE 2021 measures it: 8-bit images, cropped to multiples of 8.

    `diversity(scores.maps)` is the challenge's diversity.

    Args:
        lpips: the network.
        samples: (n, ..., 3, H, W), floating point in [0, 1] or uint8; rounded to 8 bits.
        hr: (..., 3, H, W), the photograph, likewise.

    Raises:
        InputError: another range, shape or type.
    """
    check_samples(samples, hr)
    check_unit_range(hr)
    if min(hr.shape[-2:]) < _SMALLEST_CROPPED:
        least = f"{_SMALLEST_CROPPED} x {_SMALLEST_CROPPED}"
        raise InputError(f"LPIPS of images cropped to multiples of 8 needs {least} pixels, got {tuple(hr.shape)}")
    reference = lpips.reference(eight_bit(crop_to_multiple(hr, 8)))
    check_unit_range(samples)
    return reference.compare(eight_bit(crop_to_multiple(samples, 8)))


def _read_convolutions(path: Path) -> dict[str, Tensor]:
    """The five convolutions of a torchvision AlexNet file, "0.weight" to "4.bias", float32."""
    state = read_checkpoint(path)
    found = {}
    for name, bundled in load_file(_CONVOLUTIONS).items():
        i, part = name.split(".")
        theirs = f"features.{_LAYERS[int(i)]}.{part}"
        value = state.get(theirs)
        if value is None or value.shape != bundled.shape:
            raise InputError(
                f"{path} does not hold AlexNet's weights: expected {theirs} of shape {tuple(bundled.shape)}, got "
                f"{'nothing' if value is None else tuple(value.shape)}; LPIPS takes a file like {_TORCHVISION}"
            )
        found[name] = value.float()
    return found


def _checked_batch(images: Tensor) -> Tensor:
    """Images (..., 3, H, W) as (B, 3, H, W) float32 in [0, 1], checked."""
    check_unit_range(images)
    height, width = images.shape[-2:]
    if images.ndim < 3 or images.shape[-3] != 3 or min(height, width) < SMALLEST:
        raise InputError(
            f"LPIPS needs RGB images of shape (..., 3, H, W) from {SMALLEST} x {SMALLEST} pixels up, "
            f"got {tuple(images.shape)}"
        )
    flat = images.reshape(-1, 3, height, width)
    return flat.float() if images.is_floating_point() else flat.float() / 255
