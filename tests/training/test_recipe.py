"""Recipes: inheritance, old keys, and one message for whatever makes no sense."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from ncsr.errors import InputError
from ncsr.training.recipe import changed_values, load_recipe, recipe_names
from ncsr.training.stages import split_minutes
from tests.training.conftest import BASE, make_recipe


def test_changed_values() -> None:
    old, new = {"a": 1, "b": {"c": 2, "d": 3}, "e": None}, {"a": 1, "b": {"c": 2, "d": 4}, "f": 5}
    assert list(changed_values(old, new)) == [("b.d", 3, 4), ("f", None, 5)]
    assert list(changed_values(old, old)) == []


def test_keys_by_their_old_names(tmp_path: Path) -> None:
    """In a file, beneath a file that inherits, as an override, and over a bundled recipe that has the new name."""
    expected = make_recipe(noise_mix_probability=0.25, max_rollbacks=7, max_skipped_steps=4)
    assert make_recipe(strange=0.25, returns=7, patience=4) == expected
    old = tmp_path / "old.yaml"
    old.write_text(yaml.safe_dump(BASE | {"strange": 0.25, "returns": 7, "patience": 4}))
    assert load_recipe(str(old)) == expected
    assert load_recipe(str(old), {"strange": 0.5}).noise_mix_probability == 0.5
    assert load_recipe("x4-small", {"strange": 0, "returns": 1}) == load_recipe(
        "x4-small", {"noise_mix_probability": 0, "max_rollbacks": 1}
    )
    (tmp_path / "child.yaml").write_text("inherit: x4-small\nstrange: 0.125\n")
    assert load_recipe("x4-small").noise_mix_probability == 0.05
    assert load_recipe(str(tmp_path / "child.yaml")).noise_mix_probability == 0.125


def test_bundled_recipes_are_valid() -> None:
    assert {"rrdb-x4-small", "x4-small"} <= set(recipe_names())
    for name in recipe_names():
        load_recipe(name)
    rrdb, flow = load_recipe("rrdb-x4-small").model, load_recipe("x4-small").model
    assert rrdb.flow is None
    assert rrdb.encoder == flow.encoder


def test_inheritance_merges_and_overrides_win(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(BASE))
    (tmp_path / "child.yaml").write_text("inherit: base.yaml\nbatch: 3\nmodel: {encoder: {growth: 5}}\nsteps: 10\n")
    child, base = load_recipe(str(tmp_path / "child.yaml")), load_recipe(str(tmp_path / "base.yaml"))
    assert (child.batch, child.steps, child.model.encoder.growth) == (3, 10, 5)
    changed = {"batch": 2, "steps": 4, "model": base.model}
    assert child.model.encoder.features == base.model.encoder.features
    assert child.model_copy(update=changed) == base
    overridden = load_recipe(str(tmp_path / "child.yaml"), {"batch": 4, "model.encoder.growth": 6, "clip": 2})
    assert (overridden.batch, overridden.model.encoder.growth, overridden.clip) == (4, 6, 2)
    assert overridden.model.encoder.features == base.model.encoder.features
    (tmp_path / "small.yaml").write_text("inherit: rrdb-x4-small\nsteps: 7\n")
    assert load_recipe(str(tmp_path / "small.yaml")) == load_recipe("rrdb-x4-small").model_copy(update={"steps": 7})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"leaning_rate": 1}, "unknown key 'leaning_rate': the nearest known one is 'learning_rate'"),
        ({"model.encoder.feature": 1}, "unknown key 'model.encoder.feature': the nearest known one is 'features'"),
        ({"model.flow.noise_step": 1}, "unknown key 'model.flow.noise_step': the nearest known one is 'noise_steps'"),
        ({"steps": 0}, "steps: Input should be greater than or equal to 1, got 0"),
        ({"noise": math.inf}, "noise: Input should be a finite number"),
        ({"learning_rate": math.inf}, "learning_rate: Input should be a finite number"),
        ({"betas": [1.5, 0.9]}, "betas.0: Input should be less than 1"),
        ({"seed": 2**64}, "seed: Input should be less than"),
        ({"validate_temperatures": [-1]}, "validate_temperatures.0: Input should be greater than or equal to 0"),
        ({"halve_at": [-1, 0.5]}, "halve_at.0: Input should be greater than or equal to 0"),
        ({"steps": "many"}, "steps: Input should be a valid integer"),
        ({"objective": "l2"}, "objective: Input should be 'l1' or 'likelihood', got 'l2'"),
        ({"model": 3}, "model: "),
        ({"crop": 20}, "crop must be a multiple of 8, got 20: use 16"),
        ({"noise": 0}, "a model with noise conditional layers needs noise above 0"),
        ({"objective": "l1"}, "noise belongs to the objective 'likelihood'"),
        ({"model.flow": None}, "objective 'likelihood' needs a model with a flow"),
        ({"model.flow.noise_steps": [0, 1]}, r"noise_steps needs one number per level \(3\), got \[0, 1\]"),
    ],
)
def test_recipes_that_make_no_sense(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(BASE))
    with pytest.raises(InputError, match=rf"recipe .*recipe\.yaml: {reason}") as caught:
        load_recipe(str(tmp_path / "recipe.yaml"), changes)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(tmp_path)) + 200


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("r.yaml", "objective: likelihood\n", "'model' is missing; 'steps' is missing"),
        ("r.yaml", "a: [\n", "is not valid YAML"),
        ("r.yaml", b"\xff\xfe\x00", "is not valid YAML"),
        ("r.yaml", "- 1\n", "must hold keys and values, got list"),
        ("r.yaml", "", "must hold keys and values, got NoneType"),
        ("r.yaml", "inherit: r.yaml\n", "inherits from itself"),
        ("r.yaml", "inherit: s.yaml\n", r"no recipe 's\.yaml'"),
        ("missing.yaml", "", r"no recipe '.*missing\.yaml'"),
    ],
)
def test_files_that_are_no_recipes(tmp_path: Path, name: str, content: str | bytes, reason: str) -> None:
    (tmp_path / "r.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=reason):
        load_recipe(str(tmp_path / name))


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(InputError, match="no recipe 'x4-smal': did you mean x4-small"):
        load_recipe("x4-smal")
    with pytest.raises(InputError, match=r"bundled recipes: .*x4-small"):
        load_recipe("zzz")


def test_an_encoders_recipe_lies_beside_that_of_its_flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "encoder.yaml").write_text("inherit: rrdb-x4-small\nbatch: 2\n")
    (tmp_path / "recipes" / "flow.yaml").write_text("inherit: x4-small\nencoder_recipe: encoder.yaml\n")
    monkeypatch.chdir(tmp_path)
    encoder, _ = split_minutes(load_recipe("recipes/flow.yaml", {"minutes": 1}))
    assert encoder.batch == 2
