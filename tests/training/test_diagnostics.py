"""The diagnosis of a run that fails."""

from __future__ import annotations

import math

import torch

import ncsr
from ncsr.training.diagnostics import diagnose
from tests.conftest import TINY


def test_the_diagnosis_names_the_layer(tiny_model: ncsr.NCSR) -> None:
    hr, lr = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 8, 8)
    healthy = diagnose(tiny_model, hr, lr, None)
    assert healthy.layer is None
    assert healthy.weights == []
    assert 0 < healthy.largest_latent < math.inf
    assert len(healthy.scales) == 3 * 2 * 2 + 2 * 2  # injector and coupling everywhere, noise layers in two levels
    assert all(0.6 < scale.smallest <= scale.largest < 1.66 for scale in healthy.scales)
    model = ncsr.NCSR(TINY)
    model.load_state_dict(tiny_model.state_dict())
    assert model.flow is not None
    with torch.no_grad():
        model.flow.levels[1].steps[0].coupling.subnet.last.weight[0] = float("nan")
    broken = diagnose(model, hr, lr, None)
    assert broken.layer == "flow.levels.1.steps.0.coupling.subnet"
    assert broken.weights == ["flow.levels.1.steps.0.coupling.subnet.last.weight"]
    assert "flow.levels.1.steps.0.coupling.subnet" in broken.report()
    assert math.isnan(broken.largest_latent)
