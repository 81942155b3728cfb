"""Training: the schedule, exact resuming, what is refused, and that the loss goes down."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor

import ncsr
from ncsr.errors import InputError
from ncsr.flow.actnorm import ActNorm
from ncsr.training.loop import CHECKPOINT, Trainer, differences, learning_rate, load_matching
from ncsr.training.recipe import Recipe, load_recipe, recipe_names
from ncsr.training.run import train
from tests.conftest import TINY, scene8

_BASE = {
    "objective": "likelihood",
    "model": TINY.model_dump(mode="json"),
    "steps": 4,
    "batch": 2,
    "crop": 16,
    "noise": 0.05,
    "learning_rate": 2e-3,
    "warmup": 2,
    "schedule": "cosine",
    "checkpoint_every": 2,
}
_L1 = {"objective": "l1", "noise": 0.0, "model": {**TINY.model_dump(mode="json"), "flow": None}}


def _recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate(_BASE | changes)


def _photos() -> list[Tensor]:
    return [torch.from_numpy(scene8(24, 32, seed=1)).permute(2, 0, 1).contiguous()]


def _started(recipe: Recipe, init: Path | None = None) -> Trainer:
    trainer = Trainer(recipe, _photos(), init)
    trainer.start()
    return trainer


def _advance(trainer: Trainer, steps: int) -> list[float]:
    return [trainer.advance()[0] for _ in range(steps)]


def _assert_same(one: Trainer, other: Trainer) -> None:
    assert one.step == other.step
    for (key, a), b in zip(one.model.state_dict().items(), other.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), key
    mine, theirs = one.optimiser.state_dict()["state"], other.optimiser.state_dict()["state"]
    assert mine.keys() == theirs.keys()
    for key in mine:
        assert all(torch.equal(mine[key][name], theirs[key][name]) for name in mine[key])


# schedule


def test_warm_up_and_cosine() -> None:
    recipe = _recipe(steps=100, warmup=10, schedule="cosine", learning_rate=1.0)
    assert [learning_rate(recipe, step) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert learning_rate(recipe, 50) == pytest.approx(0.5)
    assert learning_rate(recipe, 75) == pytest.approx((1 + math.cos(0.75 * math.pi)) / 2)
    assert learning_rate(recipe, 99) < 0.001


def test_halving() -> None:
    recipe = _recipe(steps=100, warmup=0, schedule="halve", halve_at=(0.5, 0.75), learning_rate=1.0)
    assert [learning_rate(recipe, step) for step in (0, 49, 50, 74, 75, 99)] == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_optimiser_takes_the_rates() -> None:
    trainer = _started(_recipe(encoder_rate=0.25))
    _, norm, rate = trainer.advance()
    assert [group["lr"] for group in trainer.optimiser.param_groups] == pytest.approx([0.25e-3, 1e-3])
    assert rate == pytest.approx(1e-3)
    assert norm > 0
    assert trainer.optimiser.param_groups[0]["betas"] == (0.9, 0.99)


# the loss


def test_noise_is_added_to_both_images_and_told_to_the_model() -> None:
    trainer = _started(_recipe())
    (hr, lr), (noisy_hr, noisy_lr, condition) = trainer.batch(3), trainer.noisy(3)
    assert condition is not None
    torch.testing.assert_close(noisy_hr - hr, condition)
    torch.testing.assert_close(noisy_lr - lr, ncsr.resize.imresize(condition, 0.25))
    assert condition.any()
    expected = trainer.model(noisy_hr, noisy_lr, condition).mean()
    torch.testing.assert_close(trainer.loss(3), expected)


@pytest.mark.parametrize("kind", ["std", "none"])
def test_conditions_of_the_variants(kind: str) -> None:
    steps = (0, 0, 0) if kind == "none" else (0, 2, 2)
    flow = {**_BASE["model"]["flow"], "condition": kind, "noise_steps": steps}
    condition = _started(_recipe(model={**_BASE["model"], "flow": flow})).noisy(0)[2]
    assert condition is None if kind == "none" else (condition is not None and condition.shape == (2,))


def test_l1_is_the_encoders() -> None:
    trainer = _started(_recipe(**_L1))
    hr, lr = trainer.batch(1)
    torch.testing.assert_close(trainer.loss(1), (trainer.model.encoder(lr) - hr).abs().mean())


@pytest.mark.parametrize(("changes", "fall"), [({}, 0.5), (_L1, 0.02)])
def test_loss_goes_down(changes: dict[str, Any], fall: float) -> None:
    trainer = _started(_recipe(**changes, steps=40, learning_rate=5e-3))
    losses = _advance(trainer, 24)
    assert sum(losses[-4:]) / 4 < sum(losses[:4]) / 4 - fall
    assert all(map(math.isfinite, losses))


def test_clipping_bounds_the_gradient() -> None:
    trainer = _started(_recipe(clip=0.01))
    _, norm, _ = trainer.advance()
    assert norm > 0.01
    clipped = torch.stack([p.grad.norm() for p in trainer.model.parameters() if p.grad is not None]).norm()
    assert clipped <= 0.01001


@pytest.mark.parametrize("changes", [{}, _L1])
def test_bfloat16(tiny_model_folder: Path, changes: dict[str, Any]) -> None:
    exact, low = (_started(_recipe(**changes, precision=p), tiny_model_folder) for p in ("float32", "bfloat16"))
    expected, loss = exact.loss(1), low.loss(1)
    assert loss.dtype == torch.float32
    assert loss != expected
    torch.testing.assert_close(loss, expected, rtol=0.05, atol=0.05)
    _advance(low, 1)
    assert {p.dtype for p in low.model.parameters()} == {torch.float32}


def test_auto_precision_is_what_pays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    for pays, precision in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr("ncsr.training.loop.bfloat16_pays", lambda device, pays=pays: pays)
        assert Trainer(_recipe(), _photos()).model.precision == precision


# start


def test_start_starts_every_actnorm_and_is_reproducible() -> None:
    trainer, again = _started(_recipe()), _started(_recipe())
    norms = [module for module in trainer.model.modules() if isinstance(module, ActNorm)]
    assert norms
    assert all(bool(norm.started) for norm in norms)
    _assert_same(trainer, again)
    assert not torch.equal(_started(_recipe(seed=1)).model.encoder.first.weight, trainer.model.encoder.first.weight)


def test_frozen_encoder() -> None:
    trainer = _started(_recipe(encoder_rate=0))
    assert trainer.model.flow is not None
    encoder = [p.clone() for p in trainer.model.encoder.parameters()]
    flow = [p.clone() for p in trainer.model.flow.parameters()]
    _advance(trainer, 2)
    assert all(torch.equal(a, b) for a, b in zip(encoder, trainer.model.encoder.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(flow, trainer.model.flow.parameters(), strict=True))


def test_init_from_an_encoder(tmp_path: Path) -> None:
    rrdb = Trainer(_recipe(**_L1, seed=7), _photos())
    rrdb.model.save(tmp_path)
    trainer = Trainer(_recipe(), _photos(), tmp_path)
    for key, value in rrdb.model.encoder.state_dict().items():
        assert torch.equal(trainer.model.encoder.state_dict()[key], value)
    assert not torch.equal(Trainer(_recipe(), _photos()).model.encoder.first.weight, rrdb.model.encoder.first.weight)


def test_init_from_a_flow_keeps_its_actnorms(tiny_model: ncsr.NCSR, tiny_model_folder: Path) -> None:
    trainer = _started(_recipe(), tiny_model_folder)
    for key, value in tiny_model.state_dict().items():
        assert torch.equal(trainer.model.state_dict()[key], value), key


def test_load_matching_refuses_other_architectures(tiny_model: ncsr.NCSR) -> None:
    wide = ncsr.NCSR(TINY.model_copy(update={"encoder": ncsr.EncoderConfig(features=9, growth=4, blocks=2)}))
    with pytest.raises(InputError, match=r"wide cannot start this model: encoder\.\S+ has another shape"):
        load_matching(tiny_model, wide.state_dict(), "wide")
    with pytest.raises(InputError, match=r"other cannot start this model: they share no parameter"):
        load_matching(tiny_model, {"weight": torch.zeros(3)}, "other")


# resuming


@pytest.mark.parametrize("changes", [{}, _L1])
def test_resuming_is_exact(tmp_path: Path, changes: dict[str, Any]) -> None:
    straight = _started(_recipe(**changes))
    losses = _advance(straight, 4)
    first = _started(_recipe(**changes))
    assert _advance(first, 2) == losses[:2]
    first.save(tmp_path)
    second = Trainer(_recipe(**changes), _photos())
    second.resume(tmp_path)
    assert second.step == 2
    assert _advance(second, 2) == losses[2:]
    _assert_same(straight, second)


def test_resuming_with_another_recipe_is_refused(tmp_path: Path) -> None:
    _started(_recipe()).save(tmp_path)
    with pytest.raises(InputError, match=r"another recipe \(clip: inf -> 1\.0; learning_rate: 0\.002 -> 0\.001\)"):
        Trainer(_recipe(learning_rate=1e-3, clip=1.0), _photos()).resume(tmp_path)


def test_nothing_or_nonsense_to_resume(tmp_path: Path) -> None:
    trainer = _started(_recipe())
    with pytest.raises(InputError, match=r"nothing to resume in .*leave out --resume"):
        trainer.resume(tmp_path)
    trainer.save(tmp_path)
    whole = (tmp_path / CHECKPOINT).read_bytes()
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other")
    for content in (whole[: len(whole) // 2], b"", b"no checkpoint", (tmp_path / "other").read_bytes()):
        (tmp_path / CHECKPOINT).write_bytes(content)
        with pytest.raises(InputError, match="is damaged or no checkpoint"):
            trainer.resume(tmp_path)


def test_differences() -> None:
    old, new = {"a": 1, "b": {"c": 2, "d": 3}, "e": None}, {"a": 1, "b": {"c": 2, "d": 4}, "f": 5}
    assert differences(old, new) == ["b.d: 3 -> 4", "f: None -> 5"]
    assert differences(old, old) == []


# recipes


def test_bundled_recipes_are_valid() -> None:
    assert {"rrdb-x4-small", "x4-small"} <= set(recipe_names())
    for name in recipe_names():
        load_recipe(name)
    rrdb, flow = load_recipe("rrdb-x4-small").model, load_recipe("x4-small").model
    assert rrdb.flow is None
    assert rrdb.encoder == flow.encoder


def test_inheritance_merges_and_overrides_win(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(_BASE))
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
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(_BASE))
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


# a run in its folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    Image.fromarray(scene8(24, 32, seed=1)).save(folder / "photo.png")
    return folder


def test_run_folder(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "broken.png").write_text("no photograph")
    run = tmp_path / "deep" / "run"
    assert train(_recipe(), [data], run) == run / "model"
    assert "left out: cannot read" in capsys.readouterr().err
    names = {path.name for path in run.iterdir()}
    assert {"recipe.yaml", CHECKPOINT, "model"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert not any(name.startswith(".") for name in names)
    assert load_recipe(str(run / "recipe.yaml")) == _recipe()
    model = ncsr.load(run / "model")
    assert model.config == TINY
    assert model.space(torch.rand(1, 3, 4, 4)).sample(1, seed=0).isfinite().all()
    with pytest.raises(InputError, match="holds a run already: give --resume"):
        train(_recipe(), [data], run)
    assert train(_recipe(), [data], run, resume=True) == run / "model"  # nothing is left to do


def test_checkpoints_come_as_often_as_asked(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = []
    monkeypatch.setattr(Trainer, "save", lambda trainer, run: saved.append(trainer.step))
    train(_recipe(steps=3), [data], tmp_path / "run")
    assert saved == [2, 3]


def test_run_folder_that_cannot_be_made(tmp_path: Path, data: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make the folder"):
        train(_recipe(), [data], tmp_path / "file" / "run")
