"""`ncsr.integrations.deepinv`, with the package where it can be imported, and with a stand-in of what is used of it."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ncsr
from ncsr.ops.resize import imresize

ROOT = Path(__file__).parents[2]


class Reconstructor(nn.Module):
    """deepinv.models.Reconstructor, as far as it is used."""

    def __init__(self, device: Any = "cpu") -> None:
        super().__init__()
        self.to(device)


class DownsamplingMatlab(nn.Module):
    """deepinv.physics.DownsamplingMatlab, as far as it is used."""

    def __init__(
        self, factor: int = 2, kernel: str = "cubic", padding: str = "reflect", antialiasing: bool = True
    ) -> None:
        super().__init__()
        self.factor, self.kernel, self.padding, self.antialiasing = factor, kernel, padding, antialiasing

    def A(self, x: Tensor) -> Tensor:
        return imresize(x, 1 / self.factor)

    forward = A


class Other(nn.Module):
    """Another physics."""


@pytest.fixture(params=["deepinv", "stand-in"])
def deepinv(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package, and `ncsr.integrations.deepinv` imported with it."""
    monkeypatch.delitem(sys.modules, "ncsr.integrations.deepinv", raising=False)
    if request.param == "deepinv":
        try:
            return importlib.import_module("deepinv")
        except (ImportError, RuntimeError) as error:  # torchvision raises RuntimeError beside another build of torch
            pytest.skip(f"deepinv cannot be imported here: {error}")
    package = ModuleType("deepinv")
    for name, value in (("models", Reconstructor), ("physics", DownsamplingMatlab)):
        module = ModuleType(f"deepinv.{name}")
        setattr(module, value.__name__, value)
        setattr(package, name, module)
        monkeypatch.setitem(sys.modules, f"deepinv.{name}", module)
    monkeypatch.setitem(sys.modules, "deepinv", package)
    return package


@pytest.fixture
def sampler(deepinv: Any, tiny_model: ncsr.NCSR) -> Any:
    return importlib.import_module("ncsr.integrations.deepinv").Sampler(tiny_model)


def test_samples(deepinv: Any, sampler: Any, tiny_model: ncsr.NCSR) -> None:
    physics = deepinv.physics.DownsamplingMatlab(factor=4)
    x = torch.zeros(2, 3, 32, 40)
    x[0, ..., 16:] = x[1, ..., 22:, :] = 1  # edges, at which y overshoots
    y = physics.A(x)
    assert y.min() < 0
    assert y.max() > 1
    assert isinstance(sampler, deepinv.models.Reconstructor)
    image = sampler(y, physics, seed=3)
    assert image.shape == x.shape
    assert torch.equal(image, tiny_model.space(y.clamp(0, 1)).sample(1, seed=3)[0])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second = sampler(y, physics), sampler(y, physics)
        torch.manual_seed(0)
        again = sampler(y, physics)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    sampler.temperature = 0
    assert torch.equal(sampler(y, physics), sampler(y, physics))


def test_a_model_by_its_name(deepinv: Any) -> None:
    sampler = importlib.import_module("ncsr.integrations.deepinv").Sampler("x4-small", temperature=0)
    assert sampler.model.config.scale == 4
    assert {name.partition(".")[0] for name in sampler.state_dict()} == {"model"}


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"factor": 2}, r"DownsamplingMatlab\(factor=2, kernel='cubic'"),
        ({"factor": 4, "antialiasing": False}, r"antialiasing=False\): give that physics, or a model"),
        (None, r"undoes DownsamplingMatlab\(factor=4\), cubic, .*; got Other\(\)"),
    ],
)
def test_another_physics(deepinv: Any, sampler: Any, how: dict[str, Any] | None, reason: str) -> None:
    physics = Other() if how is None else deepinv.physics.DownsamplingMatlab(**how)
    with pytest.raises(ncsr.InputError, match=reason):
        sampler(torch.rand(1, 3, 8, 8), physics)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("factor", [4, 8])
def test_their_reduction_is_ours(deepinv: Any, factor: int, dtype: torch.dtype) -> None:
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)).to(dtype)
    theirs = deepinv.physics.DownsamplingMatlab(factor=factor).A(x)
    torch.testing.assert_close(theirs, imresize(x, 1 / factor), rtol=0, atol=8 * torch.finfo(dtype).eps)


def test_mean_and_variance_of_samples(deepinv: Any, sampler: Any) -> None:
    if not hasattr(deepinv, "sampling"):
        pytest.skip("deepinv.sampling has no stand-in")
    physics = deepinv.physics.DownsamplingMatlab(factor=4)
    y = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    mean, variance = deepinv.sampling.DiffusionSampler(sampler, max_iter=4, verbose=False)(y, physics, seed=1)
    assert mean.shape == variance.shape == (1, 3, 32, 32)
    assert variance.max() > 1e-4


def test_the_example(deepinv: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    page = (ROOT / "docs" / "ecosystem.md").read_text(encoding="utf-8").partition("## deepinv")[2].partition("\n## ")[0]
    first, second = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(first, names)
    assert names["x_hat"].shape == names["x"].shape == (1, 3, 72, 64)
    if hasattr(deepinv, "sampling"):
        exec(second, names)
        assert names["variance"].shape == (1, 3, 72, 64)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ncsr.integrations.deepinv", raising=False)
    for name in ("deepinv", "deepinv.models"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ncsr.InputError, match=r"needs deepinv.*: pip install 'ncsr\[deepinv\]', or in a checkout"):
        importlib.import_module("ncsr.integrations.deepinv")
