"""Validation: its figures, photographs that are broken, and models whose output is not finite."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
from lightning_fabric import Fabric
from torch import Tensor

import ncsr
from ncsr.errors import InputError
from ncsr.metrics import LPIPS, diversity, ntire_lpips
from ncsr.training.log import TrainingLog
from ncsr.training.validation import validate
from tests.training.conftest import (
    L1,
    advance,
    make_photos,
    make_recipe,
    make_run,
    read_log,
    started_trainer,
)


def test_validation_measures_what_it_says(tiny_model: ncsr.NCSR) -> None:
    recipe = make_recipe(validate_images=1)
    result = validate(tiny_model, make_photos(72), recipe)
    hr = make_photos(72)[0][:, :72, :80]
    lr = ncsr.ops.resize.imresize(hr, 0.25)
    expected = tiny_model.space(lr[None].float() / 255).sample(1, 0.0)[0, 0]
    assert result.figures["PSNR"] == pytest.approx(ncsr.metrics.luma_psnr(expected, hr, 4).item())
    assert result.score == -result.figures["bits per dimension"]
    samples = tiny_model.space(lr[None].float() / 255).sample(2, 0.8, seed=recipe.seed)[:, 0].clamp(0, 1)
    scores = ntire_lpips(LPIPS(), samples, hr)
    assert result.figures["LPIPS"] == pytest.approx(scores.spatial.mean().item(), rel=1e-4)
    assert result.figures["diversity"] == pytest.approx(diversity(scores.maps).item(), rel=1e-3)


def test_lpips_stands_where_it_can(tiny_model: ncsr.NCSR) -> None:
    """Of a PSNR-oriented model without diversity; not of photographs under 31 pixels."""
    psnr_oriented = ncsr.NCSR(make_recipe(**L1).model, "float32")
    figures = validate(psnr_oriented, make_photos(72), make_recipe(**L1)).figures
    assert set(figures) == {"PSNR", "LPIPS"}
    small = [photo[:, :24] for photo in make_photos(72)]
    assert not {"LPIPS", "diversity"} & validate(tiny_model, small, make_recipe()).figures.keys()


class _Broken:
    """A photograph whose header is all that can be read."""

    shape = (3, 72, 80)

    def __getitem__(self, window: object) -> Tensor:
        raise InputError("cannot read photo.png")


def test_broken_photographs_are_left_out_of_validation(tiny_model: ncsr.NCSR) -> None:
    recipe = make_recipe(validate_images=3)
    whole = validate(tiny_model, make_photos(72), recipe)
    assert validate(tiny_model, [_Broken(), *make_photos(72), _Broken()], recipe).figures == whole.figures
    nothing = validate(tiny_model, [_Broken()], recipe)
    assert nothing.figures == {}
    assert nothing.picture is None
    assert math.isnan(nothing.score)


@pytest.mark.parametrize("changes", [{}, L1])
def test_validation_where_nothing_is_finite(changes: dict[str, Any], fabric: Fabric, tmp_path: Path) -> None:
    recipe = make_recipe(validate_every=2, **changes)
    run = make_run(recipe, tmp_path, fabric, held_out=make_photos(72))
    run.begin()
    model = run.trainer.model.train()
    spoiled = model.encoder.last.bias if model.flow is None else model.flow.levels[0].transitions[0].actnorm.bias
    spoiled.data.fill_(math.nan)
    result = validate(model, make_photos(72), recipe)
    assert math.isnan(result.figures["PSNR"])
    assert not {"LPIPS", "diversity"} & result.figures.keys()
    assert math.isnan(result.score)
    assert model.training
    with TrainingLog(tmp_path, recipe, 0, 0.0) as log:
        log.event(0, "validation", result.figures)
    assert read_log(tmp_path)[-1]["PSNR"] is None  # not NaN, which is no JSON


@pytest.mark.parametrize("changes", [{}, L1, {"average": 0.5}])
def test_validation_is_of_the_weights_as_they_are(changes: dict[str, Any], fabric: Fabric) -> None:
    recipe = make_recipe(validate_images=1, learning_rate=1e-2, **changes)
    trainer = started_trainer(recipe, fabric)
    scores = []
    for _ in range(2):
        advance(trainer, 2)
        scores.append(validate(trainer.result(), make_photos(72), recipe).score)
        assert scores[-1] == validate(copy.deepcopy(trainer.result()), make_photos(72), recipe).score
    assert scores[0] != scores[1]
