"""The learning rate of every step, and when the encoder is trained."""

from __future__ import annotations

import math

import pytest

from ncsr.training.recipe import Recipe
from ncsr.training.schedule import encoder_trains, learning_rate
from tests.training.conftest import make_recipe


def rate_at(recipe: Recipe, step: int) -> float:
    return learning_rate(recipe, step, step / recipe.steps)


def test_warm_up_and_cosine() -> None:
    recipe = make_recipe(steps=100, warmup=10, schedule="cosine", learning_rate=1.0)
    assert [rate_at(recipe, step) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert rate_at(recipe, 50) == pytest.approx(0.5)
    assert rate_at(recipe, 75) == pytest.approx((1 + math.cos(0.75 * math.pi)) / 2)
    assert rate_at(recipe, 99) < 0.001


def test_halving() -> None:
    recipe = make_recipe(steps=100, warmup=0, schedule="halve", halve_at=(0.5, 0.75), learning_rate=1.0)
    assert [rate_at(recipe, step) for step in (0, 49, 50, 74, 75, 99)] == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_restarts() -> None:
    recipe = make_recipe(steps=300, warmup=0, schedule="restarts", restart_every=100, learning_rate=1.0)
    rates = [rate_at(recipe, step) for step in range(300)]
    assert rates[0] == rates[100] == rates[200] == 1.0
    assert rates[50] == pytest.approx(0.5, abs=1e-6)
    assert rates[99] < 0.001
    assert min(rates) >= 1e-7


def test_constant() -> None:
    recipe = make_recipe(steps=100, warmup=0, schedule="constant", learning_rate=0.5)
    assert {rate_at(recipe, step) for step in range(100)} == {0.5}


def test_minutes_instead_of_steps() -> None:
    """The schedule goes by what is over of the run, the warm-up by steps."""
    recipe = make_recipe(steps=100, minutes=3, warmup=10, schedule="cosine", learning_rate=1.0)
    assert learning_rate(recipe, 4, 0.9) == pytest.approx(0.5)
    assert learning_rate(recipe, 5000, 0.5) == pytest.approx(0.5)
    assert learning_rate(recipe, 5000, 1.0) == 0


def test_when_the_encoder_trains() -> None:
    times = (0.0, 0.25, 0.5, 0.75)
    assert [encoder_trains(make_recipe(encoder_frozen=0.5), done) for done in times] == [False, False, True, True]
    assert all(encoder_trains(make_recipe(), done) for done in times)
    assert not any(encoder_trains(make_recipe(encoder_rate=0), done) for done in times)
