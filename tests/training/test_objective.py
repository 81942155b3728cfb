"""The loss: which noise is added to which image, what the model is conditioned on, and L1."""

from __future__ import annotations

import pytest
import torch
from lightning_fabric import Fabric

import ncsr
from ncsr.training.objective import Objective, noisy
from tests.training.conftest import (
    L1,
    flow_changes,
    make_batches,
    make_recipe,
    started_trainer,
)


@pytest.mark.parametrize("noise_on", ["both", "hr"])
def test_noise_is_added_and_conditions_the_model(fabric: Fabric, noise_on: str) -> None:
    recipe = make_recipe(noise_on=noise_on)
    trainer, batch = started_trainer(recipe, fabric), next(make_batches(recipe, 3))
    noisy_hr, noisy_lr, condition = noisy(batch, recipe)
    assert condition is not None
    assert condition.any()
    torch.testing.assert_close(noisy_hr - batch.hr, condition)
    expected = ncsr.ops.resize.imresize(condition, 0.25) if noise_on == "both" else torch.zeros_like(batch.lr)
    torch.testing.assert_close(noisy_lr - batch.lr, expected)
    loss = Objective(trainer.model, recipe)(*noisy(batch, recipe))
    torch.testing.assert_close(loss[0], trainer.model(noisy_hr, noisy_lr, condition).mean())
    torch.testing.assert_close(loss[0], loss[1] + loss[2])


@pytest.mark.parametrize("kind", ["std", "none"])
def test_conditions_of_the_variants(kind: str) -> None:
    recipe = make_recipe(**flow_changes(condition=kind, noise_steps=(0, 0, 0) if kind == "none" else (0, 2, 2)))
    batch = next(make_batches(recipe))
    noisy_hr, _, condition = noisy(batch, recipe)
    assert not torch.equal(noisy_hr, batch.hr)  # noise is added all the same
    assert condition is None if kind == "none" else (condition is not None and condition.shape == (2,))


def test_l1_is_the_encoders(fabric: Fabric) -> None:
    trainer = started_trainer(make_recipe(**L1), fabric)
    batch = next(make_batches(trainer.recipe))
    expected = (trainer.model.encoder(batch.lr) - batch.hr).abs().mean()
    torch.testing.assert_close(
        Objective(trainer.model, trainer.recipe)(*noisy(batch, trainer.recipe)),
        torch.stack((expected, *[torch.zeros(())] * 2)),
    )


@pytest.mark.slow
def test_a_compiled_step_is_one_graph(fabric: Fabric) -> None:
    trainer = started_trainer(make_recipe(), fabric)
    batch = noisy(next(make_batches(trainer.recipe)), trainer.recipe)
    objective = Objective(trainer.model, trainer.recipe)
    compiled = torch.compile(objective, backend="aot_eager", fullgraph=True)  # forward and backward, without a compiler
    losses = [step(*batch)[0] for step in (objective, compiled)]
    torch.testing.assert_close(losses[1], losses[0])
    losses[1].backward()
