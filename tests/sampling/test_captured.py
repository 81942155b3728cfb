"""Sampling as it runs on a GPU, from "graphs" that compute again what was recorded."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from ncsr import NCSR
from ncsr.sampling import captured, folded_model
from tests.models import lively_model
from tests.recorder import Recorder


@pytest.fixture
def recorders(monkeypatch: pytest.MonkeyPatch) -> list[Recorder]:
    """Those of all folded models, the last one last."""
    made: list[Recorder] = []

    def new(device: torch.device) -> Recorder:
        made.append(Recorder(device))
        return made[-1]

    monkeypatch.setattr(folded_model, "new_recorder", new)
    return made


def images(number: int, height: int = 6, width: int = 7) -> list[Tensor]:
    generator = torch.Generator().manual_seed(height * width)
    return [torch.rand(2, 3, height, width, generator=generator) for _ in range(number)]


def sample(model: NCSR, lr: Tensor, n: int = 3) -> Tensor:
    return model.space(lr).sample(n, 0.5, seed=1)


@pytest.fixture
def models(recorders: list[Recorder]) -> list[NCSR]:
    """One that never captures, one that does."""
    plain, capturing = (lively_model(dtype=torch.float32).requires_grad_(False) for _ in range(2))
    folded = plain.folded()
    folded.graphs = None
    recorders.clear()
    return [plain, capturing]


def test_samples_are_the_same(models: list[NCSR], recorders: list[Recorder]) -> None:
    """To the bit: other images, spaces that alternate, other numbers of samples; from the second decoding on."""
    plain, model = models
    first, *others = images(4)
    assert torch.equal(sample(model, first), sample(plain, first))
    assert recorders[0].captures == 0
    for lr in (first, *others):
        assert torch.equal(sample(model, lr), sample(plain, lr))
    assert (recorders[0].captures, recorders[0].replays) == (2, 8)  # conditions and decoding
    spaces = [model.space(lr) for lr in others]
    kept = [space.sample(1, 0.5, seed=1) for space in spaces]
    for space, lr, before in zip(spaces, others, kept, strict=True):
        assert torch.equal(space.sample(1, 0.5, seed=1), before)  # nothing that was given away is written to
        assert torch.equal(before, sample(plain, lr, 1))
    replays = recorders[0].replays
    spaces[-1].sample(1, 0.5, seed=2)
    assert recorders[0].replays == replays + 1  # of the same images: decoding alone
    assert recorders[0].captures == 3
    with torch.inference_mode():
        inside = sample(model, images(1)[0], 2)
    assert torch.equal(inside, sample(plain, images(1)[0], 2))


def test_follows_new_weights(models: list[NCSR], recorders: list[Recorder]) -> None:
    plain, model = models
    (lr,) = images(1)
    old = model.space(lr)
    for _ in range(3):
        before = old.sample(2, 0.5, seed=1)
    changed = {name: value * 1.01 if value.is_floating_point() else value for name, value in model.state_dict().items()}
    for each in models:
        each.load_state_dict(changed)
    for _ in range(3):
        assert not torch.equal(sample(model, lr, 2), before)
    plain.folded().graphs = None
    assert torch.equal(sample(model, lr, 2), sample(plain, lr, 2))
    assert torch.equal(old.sample(2, 0.5, seed=1), before)  # a space keeps the weights that it was made with
    assert len(recorders) == 3


def test_is_freed_with_the_weights(models: list[NCSR], monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, not when garbage is collected; a graph does not hold what it was recorded from."""
    monkeypatch.setattr(Recorder, "capture", lambda self, compute: (compute(), lambda: None))
    model = models[1]
    for _ in range(3):
        sample(model, images(1)[0])
    graphs = weakref.ref(model.folded().graphs)
    gc.disable()
    try:
        model.eval()
        assert graphs() is None
    finally:
        gc.enable()


def test_threads_share_it(models: list[NCSR], recorders: list[Recorder]) -> None:
    plain, model = models
    several = images(3)
    expected = [sample(plain, lr) for lr in several]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda lr: sample(model, lr), several * 4))
    for index, image in enumerate(found):
        assert torch.equal(image, expected[index % 3])
    assert sum(recorder.captures for recorder in recorders) == 2  # threads may fold at once, and keep one


@pytest.mark.filterwarnings("error")
def test_what_cannot_be_captured_is_sampled_without(
    models: list[NCSR], recorders: list[Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Recorder, compute: Any) -> Any:
        raise RuntimeError("no memory\nmore about it")

    monkeypatch.setattr(Recorder, "capture", fail)
    plain, model = models
    expected = sample(plain, images(1)[0])
    assert torch.equal(sample(model, images(1)[0]), expected)
    with pytest.warns(UserWarning, match="^sampling goes on without CUDA graphs, slower: no memory$"):
        assert torch.equal(sample(model, images(1)[0]), expected)
    assert torch.equal(sample(model, images(1)[0]), expected)  # it is said once
    assert not recorders[0].turn


def test_few_are_kept(models: list[NCSR], recorders: list[Recorder], monkeypatch: pytest.MonkeyPatch) -> None:
    """One shape here; another takes its place only after a while. Numbers of samples beyond four are not captured."""
    plain, model = models
    monkeypatch.setattr(captured, "_PIXELS", 2 * 2 * 8 * 8 - 1)
    monkeypatch.setattr(captured, "_IDLE", 4)
    for height in (6, 6, 8, 8, 8, 8):
        assert torch.equal(sample(model, images(1, height)[0], 1), sample(plain, images(1, height)[0], 1))
        assert recorders[0].captures == 0 if height == 6 and not recorders[0].runs else 2
    for number in (1, 2, 3, 4, 5, 5):
        assert torch.equal(sample(model, images(1, 8)[0], number), sample(plain, images(1, 8)[0], number))
    assert recorders[0].captures == 2 + 1 + 4
