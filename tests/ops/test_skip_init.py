"""Networks whose starting weights are left out."""

from __future__ import annotations

from pathlib import Path

import torch

import ncsr
from ncsr.ops.skip_init import SkipInit
from tests.conftest import TINY


def test_nothing_is_drawn_and_the_same_is_there() -> None:
    drawn = ncsr.NCSR(TINY).state_dict()
    state = torch.random.get_rng_state()
    with SkipInit():
        empty = ncsr.NCSR(TINY)
        shape = torch.randn(2, 3).shape
    assert shape == (2, 3)
    assert {key: value.shape for key, value in empty.state_dict().items()} == {key: v.shape for key, v in drawn.items()}
    assert torch.equal(torch.random.get_rng_state(), state)
    empty.load_state_dict(drawn)
    lr = torch.rand(1, 3, 4, 4)
    model = ncsr.NCSR(TINY)
    model.load_state_dict(drawn)
    assert torch.equal(empty.eval().space(lr).sample(1, seed=0), model.eval().space(lr).sample(1, seed=0))


def test_opening_a_model_draws_nothing(tiny_model: ncsr.NCSR, tmp_path: Path) -> None:
    tiny_model.save(tmp_path)
    state = torch.random.get_rng_state()
    opened = ncsr.load(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(opened.state_dict()[key], value) for key, value in tiny_model.state_dict().items())
