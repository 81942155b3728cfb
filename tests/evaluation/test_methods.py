"""The rows that models become, and the images that they make."""

from __future__ import annotations

import pytest
import torch

from ncsr.evaluation.methods import encoder_alone, methods_of, short_name
from ncsr.model import NCSR
from ncsr.upscaling.tiling import SampleRequest
from tests.evaluation.made import made_pair
from tests.models import lively_encoder


def test_rows_of_a_flow_and_of_encoders(tiny_model: NCSR) -> None:
    request = SampleRequest(5, 0.0, 0, 160)
    rows = [m.row for m in methods_of("models/tiny", tiny_model, request, [0.9, 0.5])]
    assert [(r.name, r.temperature, r.samples, r.deterministic) for r in rows] == [
        ("tiny, t = 0", 0.0, 1, True),
        ("tiny, t = 0.5", 0.5, 5, False),
        ("tiny, t = 0.9", 0.9, 5, False),
    ]
    assert [m.row.temperature for m in methods_of("tiny", tiny_model, request, [])] == [0.0, 0.8]
    (alone,) = methods_of("tiny:encoder", encoder_alone(tiny_model), request, [0.9])
    assert (alone.row.samples, alone.row.deterministic, alone.row.temperature) == (1, True, None)
    assert alone.row.fingerprint != rows[0].fingerprint
    pair = made_pair()
    image = tiny_model.encoder(pair.lr[None].float() / 255).clamp(0, 1)
    assert torch.allclose(alone.samples(pair), image, atol=1e-6)
    assert alone.bits_per_dim(pair) is None


@pytest.mark.parametrize(
    ("argument", "name"),
    [
        ("x4-small", "x4-small"),
        ("nets/mine", "mine"),
        ("runs/first/model", "first"),
        ("runs/first/model/model.safetensors", "first"),
        ("runs/first/best", "best"),
        ("model", "model"),
    ],
)
def test_what_models_are_called(argument: str, name: str) -> None:
    assert short_name(argument) == name


def test_esrgan_plus_draws_its_noise() -> None:
    (noisy,) = methods_of("plus", lively_encoder("esrgan+", torch.float32), SampleRequest(3, 0.0, 0, 160), [])
    samples = noisy.samples(made_pair())
    assert (noisy.row.samples, noisy.row.deterministic) == (3, False)
    assert samples[0].sub(samples[1]).abs().max() > 0
