"""The golden cases: deterministic parameters and inputs by name, and the reference implementation's numbers for them.

Every parameter follows from its reference key name alone, every input from its case's name, so that a golden file holds
results only. `generator` is PCG64 seeded by the first 8 bytes (big endian) of SHA-256 of a name.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Case:
    """One flow of the golden files: its architecture and the LR batch it was run on."""

    name: str
    scale: int
    batch: int
    height: int
    """LR height; HR is `scale` times as high."""
    width: int
    levels: int
    noise_steps: tuple[int, ...]
    """Per level, fine to coarse: how many of its last steps (image to latent) have the noise layer."""
    condition: str
    """"noise" (the noise image), "std" (its standard deviation) or "none"."""
    blocks: int = 4
    stacked_blocks: tuple[int, ...] = (0, 1, 2, 3)
    steps: int = 2


CASES = (
    Case("ncsr_x4_tiny", 4, 2, 8, 12, 3, (0, 1, 2), "noise"),
    Case("ncsr_x8_tiny", 8, 1, 8, 10, 4, (0, 0, 1, 2), "noise"),
    Case("ncsr_x4_tiny_std", 4, 2, 8, 12, 3, (0, 1, 2), "std"),
    Case("srflow_x4_tiny", 4, 2, 8, 12, 3, (0, 0, 0), "none"),
)
STANDARD_DEVIATION = 0.02  # the condition of the std case, for the whole batch
ENCODER_CASES = ("esrgan_tiny", "basicsr_rrdb_tiny", "esrganplus_tiny")  # 2 blocks, 16 features; LR is (1, 3, 10, 13)


def generator(name: str) -> np.random.Generator:
    """The random stream of a name."""
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "big")))


def parameter(key: str, shape: tuple[int, ...], tag: str = "a", deep: bool = False) -> np.ndarray:
    """The float32 value of the parameter with this reference key name.

    Args:
        key: reference key name; its ending decides the kind of parameter.
        shape: shape of the parameter.
        tag: another tag is another, independent set of parameters.
        deep: gains small enough that a full-size network (23 blocks, 16 to 20 steps) stays finite.
    """
    normal = generator(f"{key}|{tag}").standard_normal(shape)
    if key.endswith("invconv.weight"):  # near orthogonal, log|det| not zero
        q, r = np.linalg.qr(normal)
        stretch = generator(f"{key}|{tag}|scale").standard_normal(shape[0])
        value = q * np.sign(np.diag(r)) * np.exp((0.01 if deep else 0.05) * stretch)
    elif key.endswith("logs"):
        # In a deep flow the steps' own actnorms undo the contraction of every coupling, sigmoid(2) = 0.88.
        step_norm = deep and key.endswith("actnorm.logs") and ".affine." not in key
        value = (0.2 if step_norm else 0.0) + (0.005 if deep else 0.03) * normal
    elif key.endswith("actnorm.bias"):
        value = (0.01 if deep else 0.05) * normal + 0.01
    elif key.endswith("weight") and len(shape) == 4:
        value = _gain(key, deep) * normal / np.sqrt(shape[1] * shape[2] * shape[3])
    else:
        value = 0.02 * normal
    return value.astype(np.float32)


def _gain(key: str, deep: bool) -> float:
    if ".RDB" in key:
        return 0.15 if deep else 0.7
    if ".4.weight" in key or ".conv.weight" in key:  # last convolution of a subnet or a split prior
        return 0.05 if deep else 0.3
    return 0.25 if deep else 1.0


def load_rule_weights(model: nn.Module, tag: str = "a", deep: bool = False) -> None:
    """Give every parameter of a model with reference key names its value by the rule."""
    state = {k: torch.from_numpy(parameter(k, tuple(v.shape), tag, deep)) for k, v in model.state_dict().items()}
    model.load_state_dict(state)


def reference_state(name: str) -> dict[str, Tensor]:
    """A whole reference state dict of a golden case, keys that no forward pass uses included."""
    return {key: torch.from_numpy(parameter(key, shape)) for key, shape in key_shapes(name).items()}


def key_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Every key of the reference state dict of a golden case, with its shape."""
    return {key: tuple(shape) for key, shape in json.loads((GOLDEN / f"{name}.keys.json").read_text()).items()}


def grad_norms(name: str) -> dict[str, float | None]:
    """2-norm of d mean(nll) / d parameter by reference key; None where the parameter takes no part."""
    norms: dict[str, float | None] = json.loads((GOLDEN / f"{name}.grad_norms.json").read_text())
    return norms


def assert_gradient_norms(actual: dict[str, float], expected: dict[str, float], dtype: torch.dtype) -> None:
    """In float64 to 1e-5 of each norm, in float32 to 1e-4 of the largest.

    In float32 an activation of the x8 case, 3e-7 where rounding is 4e-7, lies on either side of its ReLU's kink, as a
    processor's order of sums has it: norms then move by up to 4e-5 of the largest, small ones by 2e-4 of themselves.
    """
    assert actual.keys() == expected.keys()
    largest = max(expected.values())
    for key, norm in expected.items():
        tolerance = 1e-5 * norm if dtype == torch.float64 else 1e-4 * largest
        assert abs(actual[key] - norm) <= tolerance, f"{key}: {actual[key]}, expected {norm}"


def golden(name: str) -> dict[str, Tensor]:
    """All arrays of a golden file (also "imresize" and "ntire_metrics_x4"), in their own dtypes."""
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(arrays[key].copy()) for key in arrays.files}


def inputs(case: Case) -> tuple[Tensor, Tensor, Tensor | None]:
    """hr (B, 3, s h, s w), lr (B, 3, h, w) and the condition: noise like hr, standard deviations (B,), or None."""
    hr_shape = (case.batch, 3, case.scale * case.height, case.scale * case.width)
    hr = _uniform(f"{case.name}|hr|a", hr_shape)
    lr = _uniform(f"{case.name}|lr|a", (case.batch, 3, case.height, case.width))
    condition = {
        "noise": _normal(f"{case.name}|noise|a", hr_shape, 0.03),
        "std": torch.full((case.batch,), STANDARD_DEVIATION),
        "none": None,
    }
    return hr, lr, condition[case.condition]


def latents(case: Case) -> list[Tensor]:
    """The z_i that the golden `sample` was decoded from, fine to coarse."""
    arrays = golden(case.name)
    count = sum(key.startswith("latent_") for key in arrays)
    return [_normal(f"{case.name}|z{i}|a", tuple(arrays[f"latent_{i}"].shape), 0.8) for i in range(count)]


def encoder_input(name: str) -> Tensor:
    """The (1, 3, 10, 13) LR image of an encoder-only case."""
    return _uniform(f"{name}|lr|a", (1, 3, 10, 13))


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Largest difference over the expected tensor's largest magnitude."""
    assert actual.shape == expected.shape, f"shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    return ((actual - expected).abs().max() / expected.abs().max()).item()


def _uniform(name: str, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(generator(name).random(shape).astype(np.float32))


def _normal(name: str, shape: tuple[int, ...], deviation: float) -> Tensor:
    return torch.from_numpy((deviation * generator(name).standard_normal(shape)).astype(np.float32))
