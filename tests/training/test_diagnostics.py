"""The diagnosis of a run that fails."""

from __future__ import annotations

import math
import re

import torch

import ncsr
from ncsr.training.diagnostics import diagnose
from tests.conftest import TINY


def test_the_diagnosis_names_the_layer(tiny_model: ncsr.NCSR) -> None:
    hr, lr = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 8, 8)
    healthy = diagnose(tiny_model, hr, lr, None)
    assert "weights that are not finite: none; gradients: none\n" in healthy
    assert "first layer whose output is not finite: none\n" in healthy
    assert 0 < float(healthy.partition("largest latent: ")[2].split()[0]) < math.inf
    scales = re.findall(r"^scales of flow\.levels\.\d\.steps\.\d\.\w+\.subnet: (\S+) to (\S+)$", healthy, re.MULTILINE)
    assert len(scales) == 5
    assert all(0.6 < float(low) <= float(high) < 1.66 for low, high in scales)
    model = ncsr.NCSR(TINY)
    model.load_state_dict(tiny_model.state_dict())
    assert model.flow is not None
    with torch.no_grad():
        model.flow.levels[1].steps[0].coupling.subnet.last.weight[0] = float("nan")
    broken = diagnose(model, hr, lr, None)
    assert "first layer whose output is not finite: flow.levels.1.steps.0.coupling.subnet\n" in broken
    assert "weights that are not finite: flow.levels.1.steps.0.coupling.subnet.last.weight; gradients: none\n" in broken
    assert "largest latent: nan" in broken
    assert broken.count(": nan to nan") == 5  # before those that are finite
