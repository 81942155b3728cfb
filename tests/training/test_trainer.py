"""A training step, the start of a model, and that the loss goes down."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

import ncsr
from ncsr.errors import InputError
from ncsr.flow.actnorm import ActNorm
from ncsr.training.trainer import Trainer
from tests.conftest import TINY
from tests.training.conftest import (
    L1,
    advance,
    assert_same,
    make_batches,
    make_recipe,
    started_trainer,
)


def test_optimiser_takes_the_rates(fabric: Fabric) -> None:
    trainer = started_trainer(make_recipe(encoder_rate=0.25), fabric)
    result = trainer.advance(next(make_batches(trainer.recipe)))
    assert [group["lr"] for group in trainer.optimiser.param_groups] == pytest.approx([0.25e-3, 1e-3])
    assert result.rate == pytest.approx(1e-3)
    assert result.norm > 0
    assert result.taken
    assert result.loss == pytest.approx(result.density + result.log_det, abs=1e-5)
    assert trainer.optimiser.param_groups[0]["betas"] == (0.9, 0.99)


@pytest.mark.parametrize(("changes", "fall"), [({}, 0.5), (L1, 0.02)])
def test_loss_goes_down(fabric: Fabric, changes: dict[str, Any], fall: float) -> None:
    trainer = started_trainer(make_recipe(**changes, steps=40, learning_rate=5e-3), fabric)
    losses = advance(trainer, 36)
    assert sum(losses[-4:]) / 4 < sum(losses[:4]) / 4 - fall
    assert all(map(math.isfinite, losses))


def test_clipping_bounds_the_gradient(fabric: Fabric) -> None:
    trainer = started_trainer(make_recipe(clip=0.01), fabric)
    assert trainer.advance(next(make_batches(trainer.recipe))).norm > 0.01
    clipped = torch.stack([p.grad.norm() for p in trainer.model.parameters() if p.grad is not None]).norm()
    assert clipped <= 0.01001


def test_accumulation_is_one_large_batch(fabric: Fabric) -> None:
    whole, parts = (started_trainer(make_recipe(batch=4, accumulate=n), fabric) for n in (1, 4))
    first, second = whole.advance(next(make_batches(whole.recipe))), parts.advance(next(make_batches(parts.recipe)))
    assert second.loss == pytest.approx(first.loss, rel=1e-5)
    assert second.norm == pytest.approx(first.norm, rel=1e-4)
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("changes", [{}, L1])
def test_bfloat16(fabric: Fabric, tiny_model_folder: Path, changes: dict[str, Any]) -> None:
    exact, low = (
        started_trainer(make_recipe(**changes, precision=p), fabric, tiny_model_folder) for p in ("float32", "bfloat16")
    )
    expected, loss = (t.advance(next(make_batches(t.recipe))).loss for t in (exact, low))
    assert loss != expected
    assert loss == pytest.approx(expected, rel=0.05, abs=0.05)
    assert {p.dtype for p in low.model.parameters()} == {torch.float32}


def test_auto_precision_is_what_pays_here(fabric: Fabric, monkeypatch: pytest.MonkeyPatch) -> None:
    for pays, precision in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr("ncsr.training.trainer.bfloat16_pays", lambda device, pays=pays: pays)
        assert Trainer(make_recipe(precision="auto"), fabric).model.precision == precision


def test_average_of_the_weights(fabric: Fabric) -> None:
    trainer = started_trainer(make_recipe(average=0.75), fabric)
    name = "encoder.first.weight"
    expected = trainer.model.state_dict()[name].clone()
    advance(trainer, 1)
    expected = trainer.model.state_dict()[name].clone()  # the first step is taken as it is
    for _ in range(3):
        advance(trainer, 1)
        expected = 0.75 * expected + 0.25 * trainer.model.state_dict()[name]
    torch.testing.assert_close(trainer.result().state_dict()[name], expected)
    assert trainer.result() is not trainer.model
    assert all(bool(m.started) for m in trainer.result().modules() if isinstance(m, ActNorm))


def test_batch_that_cannot_be_shared(fabric: Fabric) -> None:
    with pytest.raises(InputError, match=r"a batch of 3 cannot be shared by 1 processes in 2 parts each"):
        Trainer(make_recipe().model_copy(update={"batch": 3, "accumulate": 2}), fabric)


def test_recomputing_changes_nothing(fabric: Fabric) -> None:
    kept, recomputed = (started_trainer(make_recipe(recompute=r, steps=20), fabric) for r in (False, True))
    assert recomputed.model.recompute
    assert advance(recomputed, 2) == pytest.approx(advance(kept, 2), abs=1e-5)


@pytest.mark.slow
def test_compiled_training_is_the_same(fabric: Fabric) -> None:
    plain, compiled = (started_trainer(make_recipe(compile=c), fabric) for c in (False, True))
    assert advance(compiled, 1) == pytest.approx(advance(plain, 1), abs=1e-5)
    # Right after the start some gradients are rounding noise around zero, which Adam makes large: no second step.
    pairs = list(zip(plain.model.named_parameters(), compiled.model.parameters(), strict=True))
    trained = {name: (expected.grad, actual.grad) for (name, expected), actual in pairs if expected.grad is not None}
    whole = math.hypot(*(expected.norm().item() for expected, _ in trained.values()))
    for name, (expected, actual) in trained.items():
        assert actual is not None
        assert (actual - expected).norm() < 1e-5 * whole, name


# start


def test_start_starts_every_actnorm_and_is_reproducible(fabric: Fabric) -> None:
    trainer, again = started_trainer(make_recipe(), fabric), started_trainer(make_recipe(), fabric)
    norms = [module for module in trainer.model.modules() if isinstance(module, ActNorm)]
    assert norms
    assert all(bool(norm.started) for norm in norms)
    assert_same(trainer.state(), again.state())
    other = started_trainer(make_recipe(seed=1), fabric)
    assert not torch.equal(other.model.encoder.first.weight, trainer.model.encoder.first.weight)


@pytest.mark.parametrize("changes", [{"encoder_rate": 0}, {"encoder_frozen": 0.5}])
def test_frozen_encoder(fabric: Fabric, changes: dict[str, Any]) -> None:
    trainer = started_trainer(make_recipe(**changes), fabric)
    assert trainer.model.flow is not None
    encoder = [p.clone() for p in trainer.model.encoder.parameters()]
    flow = [p.clone() for p in trainer.model.flow.parameters()]
    advance(trainer, 2)
    assert all(torch.equal(a, b) for a, b in zip(encoder, trainer.model.encoder.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(flow, trainer.model.flow.parameters(), strict=True))
    advance(trainer, 1)
    thawed = "encoder_frozen" in changes
    assert thawed != torch.equal(encoder[0], trainer.model.encoder.first.weight)


def test_init_from_an_encoder(fabric: Fabric, tmp_path: Path) -> None:
    rrdb = Trainer(make_recipe(**L1, seed=7), fabric)
    rrdb.model.save(tmp_path)
    trainer = Trainer(make_recipe(), fabric, tmp_path)
    for key, value in rrdb.model.encoder.state_dict().items():
        assert torch.equal(trainer.model.encoder.state_dict()[key], value)
    other = Trainer(make_recipe(), fabric)
    assert not torch.equal(other.model.encoder.first.weight, rrdb.model.encoder.first.weight)
    assert trainer.notes == [f"started from {tmp_path}: new are flow"]


def test_init_says_what_did_not_fit(fabric: Fabric, tiny_model: ncsr.NCSR, tmp_path: Path) -> None:
    """An x4 flow into an x8 encoder: what an x8 flow sees is there, the last enlargement is new."""
    tiny_model.save(tmp_path)
    larger = {"scale": 8, "encoder": {**TINY.encoder.model_dump(), "blocks": 3, "trunk_skip": "first"}}
    trainer = Trainer(make_recipe(**{**L1, "model": {**larger, "flow": None}}), fabric, tmp_path)
    own, given = trainer.model.encoder.state_dict(), tiny_model.encoder.state_dict()
    assert all(torch.equal(own[key], value) for key, value in given.items())
    facts = ["new are encoder.blocks.2, encoder.ups.2", "encoder.blocks was 2, it is 3 here"]
    facts += ["encoder.trunk_skip was last, it is first here", "scale was 4, it is 8 here"]
    assert trainer.notes == [f"started from {tmp_path}: {fact}" for fact in facts]
    narrow = Trainer(make_recipe(**{**L1, "model": {**TINY.model_dump(), "flow": None}}), fabric, tmp_path)
    assert narrow.notes == [f"started from {tmp_path}: not used are flow"]
    flow = {"levels": 4, "noise_steps": [0, 0, 2, 2], "steps": 2, "hidden": 8, "stacked_blocks": [0, 1]}
    flow = Trainer(make_recipe(model={**larger, "flow": flow}), fabric, tmp_path)
    assert flow.notes[0] == f"started from {tmp_path}: new are encoder.blocks.2, encoder.ups.2, flow"


def test_init_says_that_another_temperature_is_the_default(
    fabric: Fabric, tiny_model: ncsr.NCSR, tmp_path: Path
) -> None:
    tiny_model.save(tmp_path)
    recipe = make_recipe(model={**TINY.model_dump(), "temperature": 0.4})
    assert Trainer(recipe, fabric, tmp_path).notes == [f"started from {tmp_path}: temperature was 0.8, it is 0.4 here"]


def test_init_from_a_flow_keeps_its_actnorms(fabric: Fabric, tiny_model: ncsr.NCSR, tiny_model_folder: Path) -> None:
    trainer = started_trainer(make_recipe(average=0.9), fabric, tiny_model_folder)
    for model in (trainer.model, trainer.result()):
        for key, value in tiny_model.state_dict().items():
            assert torch.equal(model.state_dict()[key], value), key
