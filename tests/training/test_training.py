"""Training: the schedule, the objective, exact resuming, what is refused, and that the loss goes down."""

from __future__ import annotations

import copy
import errno
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning_fabric import Fabric
from PIL import Image
from torch import Tensor

import ncsr
from ncsr.data.loader import Batch, batches
from ncsr.errors import InputError
from ncsr.flow.actnorm import ActNorm
from ncsr.training.checkpoints import FORMAT, checkpoints, read_newest, write_checkpoint
from ncsr.training.diagnostics import diagnose
from ncsr.training.log import Journal
from ncsr.training.objective import Objective, noisy
from ncsr.training.recipe import Recipe, load_recipe, recipe_names
from ncsr.training.run import Diverged, Run, differences
from ncsr.training.schedule import encoder_trains, learning_rate
from ncsr.training.trainer import Trainer, load_matching
from ncsr.training.validation import validate
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
    "precision": "float32",
}
_L1 = {"objective": "l1", "noise": 0.0, "model": {**TINY.model_dump(mode="json"), "flow": None}}


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


def _recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate(_BASE | changes)


def _flow(**changes: Any) -> dict[str, Any]:
    return {"model": {**_BASE["model"], "flow": {**_BASE["model"]["flow"], **changes}}}


def _photos(side: int = 24) -> list[Tensor]:
    return [torch.from_numpy(scene8(side, side + 8, seed=1)).permute(2, 0, 1).contiguous()]


def _batches(recipe: Recipe, start: int = 0) -> Iterator[Batch]:
    return iter(
        batches(
            _photos(),
            size=recipe.crop,
            scale=recipe.model.scale,
            count=recipe.batch,
            seed=recipe.seed,
            start=start,
            stop=start + 100,
            noise=recipe.noise,
        )
    )


def _started(recipe: Recipe, fabric: Fabric, init: Path | None = None) -> Trainer:
    trainer = Trainer(recipe, fabric, init)
    trainer.start(next(_batches(recipe)))
    return trainer


def _advance(trainer: Trainer, steps: int) -> list[float]:
    crops = _batches(trainer.recipe, trainer.step)
    return [trainer.advance(next(crops)).loss for _ in range(steps)]


def _assert_same(one: Any, other: Any, where: str = "") -> None:
    """Equal bit for bit, through dictionaries and lists."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            _assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            _assert_same(a, b, f"{where}[{i}]")
    else:
        assert one == other, where


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


def test_restarts() -> None:
    recipe = _recipe(steps=300, warmup=0, schedule="restarts", restart_every=100, learning_rate=1.0)
    rates = [learning_rate(recipe, step) for step in range(300)]
    assert rates[0] == rates[100] == rates[200] == 1.0
    assert rates[50] == pytest.approx(0.5, abs=1e-6)
    assert rates[99] < 0.001
    assert min(rates) >= 1e-7


def test_constant() -> None:
    recipe = _recipe(steps=100, warmup=0, schedule="constant", learning_rate=0.5)
    assert {learning_rate(recipe, step) for step in range(100)} == {0.5}


def test_when_the_encoder_trains() -> None:
    assert [encoder_trains(_recipe(encoder_frozen=0.5), step) for step in range(4)] == [False, False, True, True]
    assert all(encoder_trains(_recipe(), step) for step in range(4))
    assert not any(encoder_trains(_recipe(encoder_rate=0), step) for step in range(4))


# a step


def test_optimiser_takes_the_rates(fabric: Fabric) -> None:
    trainer = _started(_recipe(encoder_rate=0.25), fabric)
    outcome = trainer.advance(next(_batches(trainer.recipe)))
    assert [group["lr"] for group in trainer.optimiser.param_groups] == pytest.approx([0.25e-3, 1e-3])
    assert outcome.rate == pytest.approx(1e-3)
    assert outcome.norm > 0
    assert outcome.taken
    assert outcome.loss == pytest.approx(outcome.density + outcome.log_det, abs=1e-5)
    assert trainer.optimiser.param_groups[0]["betas"] == (0.9, 0.99)


@pytest.mark.parametrize("noise_on", ["both", "hr"])
def test_noise_is_added_and_told_to_the_model(fabric: Fabric, noise_on: str) -> None:
    recipe = _recipe(noise_on=noise_on)
    trainer, batch = _started(recipe, fabric), next(_batches(recipe, 3))
    noisy_hr, noisy_lr, condition = noisy(batch, recipe)
    assert condition is not None
    assert condition.any()
    torch.testing.assert_close(noisy_hr - batch.hr, condition)
    expected = ncsr.ops.resize.imresize(condition, 0.25) if noise_on == "both" else torch.zeros_like(batch.lr)
    torch.testing.assert_close(noisy_lr - batch.lr, expected)
    loss = Objective(trainer.model, recipe)(batch)
    torch.testing.assert_close(loss[0], trainer.model(noisy_hr, noisy_lr, condition).mean())
    torch.testing.assert_close(loss[0], loss[1] + loss[2])


@pytest.mark.parametrize("kind", ["std", "none"])
def test_conditions_of_the_variants(kind: str) -> None:
    recipe = _recipe(**_flow(condition=kind, noise_steps=(0, 0, 0) if kind == "none" else (0, 2, 2)))
    batch = next(_batches(recipe))
    noisy_hr, _, condition = noisy(batch, recipe)
    assert not torch.equal(noisy_hr, batch.hr)  # noise is added all the same
    assert condition is None if kind == "none" else (condition is not None and condition.shape == (2,))


def test_l1_is_the_encoders(fabric: Fabric) -> None:
    trainer = _started(_recipe(**_L1), fabric)
    batch = next(_batches(trainer.recipe))
    expected = (trainer.model.encoder(batch.lr) - batch.hr).abs().mean()
    torch.testing.assert_close(
        Objective(trainer.model, trainer.recipe)(batch), torch.stack((expected, *[torch.zeros(())] * 2))
    )


@pytest.mark.parametrize(("changes", "fall"), [({}, 0.5), (_L1, 0.02)])
def test_loss_goes_down(fabric: Fabric, changes: dict[str, Any], fall: float) -> None:
    trainer = _started(_recipe(**changes, steps=40, learning_rate=5e-3), fabric)
    losses = _advance(trainer, 24)
    assert sum(losses[-4:]) / 4 < sum(losses[:4]) / 4 - fall
    assert all(map(math.isfinite, losses))


def test_clipping_bounds_the_gradient(fabric: Fabric) -> None:
    trainer = _started(_recipe(clip=0.01), fabric)
    assert trainer.advance(next(_batches(trainer.recipe))).norm > 0.01
    clipped = torch.stack([p.grad.norm() for p in trainer.model.parameters() if p.grad is not None]).norm()
    assert clipped <= 0.01001


def test_accumulation_is_one_large_batch(fabric: Fabric) -> None:
    whole, parts = (_started(_recipe(batch=4, accumulate=n), fabric) for n in (1, 4))
    first, second = whole.advance(next(_batches(whole.recipe))), parts.advance(next(_batches(parts.recipe)))
    assert second.loss == pytest.approx(first.loss, rel=1e-5)
    assert second.norm == pytest.approx(first.norm, rel=1e-4)
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("changes", [{}, _L1])
def test_bfloat16(fabric: Fabric, tiny_model_folder: Path, changes: dict[str, Any]) -> None:
    exact, low = (_started(_recipe(**changes, precision=p), fabric, tiny_model_folder) for p in ("float32", "bfloat16"))
    expected, loss = (t.advance(next(_batches(t.recipe))).loss for t in (exact, low))
    assert loss != expected
    assert loss == pytest.approx(expected, rel=0.05, abs=0.05)
    assert {p.dtype for p in low.model.parameters()} == {torch.float32}


def test_auto_precision_is_what_pays_here(fabric: Fabric, monkeypatch: pytest.MonkeyPatch) -> None:
    for pays, precision in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr("ncsr.training.trainer.bfloat16_pays", lambda device, pays=pays: pays)
        assert Trainer(_recipe(precision="auto"), fabric).model.precision == precision


def test_average_of_the_weights(fabric: Fabric) -> None:
    trainer = _started(_recipe(average=0.75), fabric)
    name = "encoder.first.weight"
    expected = trainer.model.state_dict()[name].clone()
    _advance(trainer, 1)
    expected = trainer.model.state_dict()[name].clone()  # the first step is taken as it is
    for _ in range(3):
        _advance(trainer, 1)
        expected = 0.75 * expected + 0.25 * trainer.model.state_dict()[name]
    torch.testing.assert_close(trainer.result().state_dict()[name], expected)
    assert trainer.result() is not trainer.model
    assert all(bool(m.started) for m in trainer.result().modules() if isinstance(m, ActNorm))


def test_batch_that_cannot_be_shared(fabric: Fabric) -> None:
    with pytest.raises(InputError, match=r"a batch of 3 cannot be shared by 1 processes in 2 parts each"):
        Trainer(_recipe().model_copy(update={"batch": 3, "accumulate": 2}), fabric)


def test_recomputing_changes_nothing(fabric: Fabric) -> None:
    kept, recomputed = (_started(_recipe(recompute=r, steps=20), fabric) for r in (False, True))
    assert recomputed.model.recompute
    assert _advance(recomputed, 2) == pytest.approx(_advance(kept, 2), abs=1e-5)


@pytest.mark.slow
def test_compiled_training_is_the_same(fabric: Fabric) -> None:
    plain, compiled = (_started(_recipe(compile=c), fabric) for c in (False, True))
    assert _advance(compiled, 1) == pytest.approx(_advance(plain, 1), abs=1e-5)
    # Right after the start some gradients are rounding noise around zero, which Adam makes large: no second step.
    pairs = list(zip(plain.model.named_parameters(), compiled.model.parameters(), strict=True))
    trained = {name: (expected.grad, actual.grad) for (name, expected), actual in pairs if expected.grad is not None}
    whole = math.hypot(*(expected.norm().item() for expected, _ in trained.values()))
    for name, (expected, actual) in trained.items():
        assert actual is not None
        assert (actual - expected).norm() < 1e-5 * whole, name


# start


def test_start_starts_every_actnorm_and_is_reproducible(fabric: Fabric) -> None:
    trainer, again = _started(_recipe(), fabric), _started(_recipe(), fabric)
    norms = [module for module in trainer.model.modules() if isinstance(module, ActNorm)]
    assert norms
    assert all(bool(norm.started) for norm in norms)
    _assert_same(trainer.state(), again.state())
    other = _started(_recipe(seed=1), fabric)
    assert not torch.equal(other.model.encoder.first.weight, trainer.model.encoder.first.weight)


@pytest.mark.parametrize("changes", [{"encoder_rate": 0}, {"encoder_frozen": 0.5}])
def test_frozen_encoder(fabric: Fabric, changes: dict[str, Any]) -> None:
    trainer = _started(_recipe(**changes), fabric)
    assert trainer.model.flow is not None
    encoder = [p.clone() for p in trainer.model.encoder.parameters()]
    flow = [p.clone() for p in trainer.model.flow.parameters()]
    _advance(trainer, 2)
    assert all(torch.equal(a, b) for a, b in zip(encoder, trainer.model.encoder.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(flow, trainer.model.flow.parameters(), strict=True))
    _advance(trainer, 1)
    thawed = "encoder_frozen" in changes
    assert thawed != torch.equal(encoder[0], trainer.model.encoder.first.weight)


def test_init_from_an_encoder(fabric: Fabric, tmp_path: Path) -> None:
    rrdb = Trainer(_recipe(**_L1, seed=7), fabric)
    rrdb.model.save(tmp_path)
    trainer = Trainer(_recipe(), fabric, tmp_path)
    for key, value in rrdb.model.encoder.state_dict().items():
        assert torch.equal(trainer.model.encoder.state_dict()[key], value)
    other = Trainer(_recipe(), fabric)
    assert not torch.equal(other.model.encoder.first.weight, rrdb.model.encoder.first.weight)


def test_init_from_a_flow_keeps_its_actnorms(fabric: Fabric, tiny_model: ncsr.NCSR, tiny_model_folder: Path) -> None:
    trainer = _started(_recipe(average=0.9), fabric, tiny_model_folder)
    for model in (trainer.model, trainer.result()):
        for key, value in tiny_model.state_dict().items():
            assert torch.equal(model.state_dict()[key], value), key


def test_load_matching_refuses_other_architectures(tiny_model: ncsr.NCSR) -> None:
    wide = ncsr.NCSR(TINY.model_copy(update={"encoder": ncsr.EncoderConfig(features=9, growth=4, blocks=2)}))
    with pytest.raises(InputError, match=r"wide cannot start this model: encoder\.\S+ has another shape"):
        load_matching(tiny_model, wide.state_dict(), "wide")
    with pytest.raises(InputError, match=r"other cannot start this model: they share no parameter"):
        load_matching(tiny_model, {"weight": torch.zeros(3)}, "other")


# checkpoints


def test_checkpoints_rotate_and_the_best_stays(tmp_path: Path) -> None:
    for step in range(1, 7):
        write_checkpoint(tmp_path, {"step": step}, keep=2, best=2)
    assert [path.name for path in checkpoints(tmp_path)] == [f"step-0000000{n}.pt" for n in (6, 5, 2)]
    assert read_newest(tmp_path) == ({"format": FORMAT, "step": 6}, [])


@pytest.mark.parametrize("content", [b"", b"no checkpoint", "half", "other"])
def test_damaged_checkpoints_are_passed_over(tmp_path: Path, content: bytes | str) -> None:
    for step in (1, 2):
        write_checkpoint(tmp_path, {"step": step, "weight": torch.zeros(999)}, keep=2)
    newest = checkpoints(tmp_path)[0]
    whole = newest.read_bytes()
    if content == "other":
        torch.save({"weight": torch.zeros(3)}, newest)
    else:
        newest.write_bytes(whole[: len(whole) // 2] if content == "half" else content)  # type: ignore[arg-type]
    state, damaged = read_newest(tmp_path)
    assert state["step"] == 1
    assert damaged == [f"{newest} is damaged: going back to the checkpoint before it"]
    checkpoints(tmp_path)[1].write_bytes(b"")
    with pytest.raises(InputError, match=r"nothing to resume in .*: every checkpoint there is damaged"):
        read_newest(tmp_path)


def test_checkpoints_of_a_newer_version_are_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, {"step": 1}, keep=2)
    torch.save({"format": FORMAT + 1, "step": 2}, tmp_path / "checkpoints" / "step-00000002.pt")
    with pytest.raises(
        InputError, match=rf"newer ncsr \(checkpoint format {FORMAT + 1}, this one reads up to {FORMAT}"
    ):
        read_newest(tmp_path)


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing to resume in .*: no checkpoint in .*leave out --resume"):
        read_newest(tmp_path)


def test_differences() -> None:
    old, new = {"a": 1, "b": {"c": 2, "d": 3}, "e": None}, {"a": 1, "b": {"c": 2, "d": 4}, "f": 5}
    assert differences(old, new) == ["b.d: 3 -> 4", "f: None -> 5"]
    assert differences(old, old) == []


# a run in its folder


def _run(recipe: Recipe, folder: Path, fabric: Fabric, **how: Any) -> Run:
    return Run(recipe, _photos(), folder, fabric, **how)


def _events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("changes", [{"average": 0.9, "encoder_frozen": 0.6}, _L1])
def test_resuming_is_exact(fabric: Fabric, tmp_path: Path, changes: dict[str, Any]) -> None:
    recipe = _recipe(**changes, steps=8, checkpoint_every=4, keep=9)
    straight = _run(recipe, tmp_path / "straight", fabric)
    straight.begin()
    straight.train()
    again = _run(recipe, tmp_path / "again", fabric)
    again.begin()
    again.train()
    (tmp_path / "again" / "checkpoints" / "step-00000008.pt").unlink()  # as if it had been killed after step 4
    second = _run(recipe, tmp_path / "again", fabric)
    assert second.resume() == []
    assert second.trainer.step == 4
    assert second.train() == tmp_path / "again" / "model"
    _assert_same(straight.trainer.state(), second.trainer.state())
    assert _events(tmp_path / "straight") == _events(tmp_path / "again")
    assert [e["step"] for e in _events(tmp_path / "again")] == list(range(1, 9))


@pytest.mark.parametrize("place", ["journal.Journal.step", "run.Run._save_model"])
def test_files_that_cannot_be_written(
    place: str, fabric: Fabric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _run(_recipe(), tmp_path, fabric)
    run.begin()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"ncsr.training.{place}", full)
    with pytest.raises(InputError, match=r"run folder .*: No space left on device; make room there, then resume"):
        run.train()


def test_run_folder(fabric: Fabric, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    recipe = _recipe(validate_every=2)
    run = _run(recipe, folder, fabric, held_out=_photos(72))
    run.begin()
    assert run.train() == folder / "model"
    assert {"recipe.yaml", "checkpoints", "model", "best", "log.jsonl", "validation"} <= {
        p.name for p in folder.iterdir()
    }
    assert any(path.name.startswith("events.out.tfevents") for path in folder.iterdir())
    assert not list(folder.rglob(".*"))
    assert load_recipe(str(folder / "recipe.yaml")) == recipe
    assert [path.name for path in checkpoints(folder)] == [f"step-0000000{n}.pt" for n in (4, 2, 0)]
    assert torch.load(checkpoints(folder)[0], weights_only=True)["recipe"] == recipe.model_dump(mode="json")
    for name in ("model", "best"):
        model = ncsr.load(folder / name)
        assert model.config == TINY
        assert model.space(torch.rand(1, 3, 4, 4)).sample(1, seed=0).isfinite().all()
    with pytest.raises(InputError, match="holds a run already: give --resume"):
        _run(recipe, folder, fabric).begin()
    done = _run(recipe, folder, fabric)
    done.resume()
    assert done.train() == folder / "model"  # nothing is left to do
    with pytest.raises(InputError, match=r"another recipe \(clip: inf -> 1\.0; learning_rate: 0\.002 -> 0\.001\)"):
        _run(_recipe(validate_every=2, learning_rate=1e-3, clip=1.0), folder, fabric).resume()


def test_resuming_makes_the_model_of_the_checkpoint(fabric: Fabric, tmp_path: Path) -> None:
    """As after a kill, or a full disk, between the last checkpoint and its model."""
    run = _run(_recipe(), tmp_path, fabric)
    run.begin()
    first = ncsr.load(tmp_path / "model").state_dict()
    run.train()
    last = ncsr.load(tmp_path / "model").state_dict()
    run.trainer.restore(torch.load(checkpoints(tmp_path)[-1], weights_only=True))
    run.trainer.result().save(tmp_path / "model")
    again = _run(_recipe(), tmp_path, fabric)
    again.resume()
    again.train()
    found = ncsr.load(tmp_path / "model").state_dict()
    name = "encoder.first.weight"
    assert torch.equal(found[name], last[name])
    assert not torch.equal(found[name], first[name])


def test_resuming_a_run_from_before_a_key_was_there(fabric: Fabric, tmp_path: Path) -> None:
    run = _run(_recipe(), tmp_path, fabric)
    run.begin()
    newest = checkpoints(tmp_path)[0]
    state = torch.load(newest, weights_only=True)
    del state["recipe"]["strange"]
    torch.save(state, newest)
    assert _run(_recipe(), tmp_path, fabric).resume() == []
    with pytest.raises(InputError, match=r"another recipe \(strange: 0\.0 -> 0\.5\)"):
        _run(_recipe(strange=0.5), tmp_path, fabric).resume()


def test_validation_is_logged_and_drawn(fabric: Fabric, tmp_path: Path) -> None:
    run = _run(_recipe(validate_every=2, validate_temperatures=(0.0, 0.9)), tmp_path, fabric, held_out=_photos(72))
    run.begin()
    run.train()
    events = [event for event in _events(tmp_path) if event.get("event") == "validation"]
    assert [event["step"] for event in events] == [2, 4]
    for event in events:
        assert {"PSNR", "bits per dimension", "LR-PSNR", "finite"} < event.keys()
        assert event["finite"] == 1
    with Image.open(tmp_path / "validation" / "step-00000004.png") as picture:
        assert picture.width > 4 * 72  # photograph, bicubic, two temperatures
    assert run.best is not None
    best = min(events, key=lambda event: event["bits per dimension"])
    assert run.best == {"step": best["step"], "score": -best["bits per dimension"]}


def test_validation_measures_what_it_says(tiny_model: ncsr.NCSR) -> None:
    recipe = _recipe(validate_images=1)
    result = validate(tiny_model, _photos(72), recipe)
    hr = _photos(72)[0][:, :72, :80]
    lr = ncsr.ops.resize.imresize(hr, 0.25)
    expected = tiny_model.space(lr[None].float() / 255).sample(1, 0.0)[0, 0]
    assert result.figures["PSNR"] == pytest.approx(ncsr.metrics.luma_psnr(expected, hr, 4).item())
    assert result.score == -result.figures["bits per dimension"]


class _Broken:
    """A photograph whose header is all that can be read."""

    shape = (3, 72, 80)

    def __getitem__(self, window: object) -> Tensor:
        raise InputError("cannot read photo.png")


def test_broken_photographs_are_left_out_of_validation(tiny_model: ncsr.NCSR) -> None:
    recipe = _recipe(validate_images=3)
    whole = validate(tiny_model, _photos(72), recipe)
    assert validate(tiny_model, [_Broken(), *_photos(72), _Broken()], recipe).figures == whole.figures
    nothing = validate(tiny_model, [_Broken()], recipe)
    assert nothing.figures == {}
    assert nothing.picture is None
    assert math.isnan(nothing.score)


@pytest.mark.parametrize("changes", [{}, _L1])
def test_validation_of_a_model_that_went_astray(changes: dict[str, Any], fabric: Fabric, tmp_path: Path) -> None:
    recipe = _recipe(validate_every=2, **changes)
    run = _run(recipe, tmp_path, fabric, held_out=_photos(72))
    run.begin()
    model = run.trainer.model.train()
    spoiled = model.encoder.last.bias if model.flow is None else model.flow.levels[0].transitions[0].actnorm.bias
    spoiled.data.fill_(math.nan)
    result = validate(model, _photos(72), recipe)
    assert math.isnan(result.figures["PSNR"])
    assert math.isnan(result.score)
    assert model.training
    with Journal(tmp_path, recipe, 0) as journal:
        journal.event(0, "validation", result.figures)
    assert _events(tmp_path)[-1]["PSNR"] is None  # not NaN, which is no JSON


@pytest.mark.parametrize("changes", [{}, _L1, {"average": 0.5}])
def test_validation_is_of_the_weights_as_they_are(changes: dict[str, Any], fabric: Fabric) -> None:
    recipe = _recipe(validate_images=1, learning_rate=1e-2, **changes)
    trainer = _started(recipe, fabric)
    scores = []
    for _ in range(2):
        _advance(trainer, 2)
        scores.append(validate(trainer.result(), _photos(72), recipe).score)
        assert scores[-1] == validate(copy.deepcopy(trainer.result()), _photos(72), recipe).score
    assert scores[0] != scores[1]


def test_negative_bits_are_explained_once(
    fabric: Fabric, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = Trainer.advance
    monkeypatch.setattr(Trainer, "advance", lambda trainer, batch: advance(trainer, batch)._replace(loss=-1.5))
    run = _run(_recipe(), tmp_path, fabric)
    run.begin()
    run.train()
    err = capsys.readouterr().err
    assert err.count("The loss fell below zero, as it should") == 1
    assert "step 4 of 4: " in err
    assert "bits/dim (latents" in err


# runs that go wrong


def _spoil(monkeypatch: pytest.MonkeyPatch, steps: set[int], times: int = 99) -> list[int]:
    """Make the loss of these steps not finite, the first `times` times; returns the steps that were spoilt."""
    spoilt: list[int] = []
    backward = Trainer._backward

    def spoilt_backward(trainer: Trainer, batch: Batch) -> Tensor:
        if trainer.step in steps and spoilt.count(trainer.step) < times:
            spoilt.append(trainer.step)
            batch = batch._replace(hr=torch.full_like(batch.hr, float("nan")))
        return backward(trainer, batch)

    monkeypatch.setattr(Trainer, "_backward", spoilt_backward)
    return spoilt


def test_a_step_that_is_not_finite_is_skipped_and_counted(
    fabric: Fabric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _spoil(monkeypatch, {1})
    run = _run(_recipe(), tmp_path, fabric)
    run.begin()
    run.train()
    assert run.trainer.step == 4
    assert run.trainer.skipped == [1]
    steps = [event for event in _events(tmp_path) if "event" not in event]
    assert [event["taken"] for event in steps] == [True, False, True, True]
    assert all(p.isfinite().all() for p in run.trainer.model.parameters())
    assert [path.name[5:13] for path in checkpoints(tmp_path)] == ["00000004", "00000000"]  # none after a skipped step
    assert "skipped" in next(event["event"] for event in _events(tmp_path) if "event" in event)


def test_too_many_skipped_steps_return_to_the_last_checkpoint(
    fabric: Fabric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt = _spoil(monkeypatch, {3, 4, 5}, times=1)
    run = _run(_recipe(steps=8, patience=2, schedule="constant", warmup=0), tmp_path, fabric)
    run.begin()
    run.train()
    assert spoilt == [3, 4, 5]
    assert run.trainer.returns == 1
    rates = {event["step"]: event["rate"] for event in _events(tmp_path) if "rate" in event}
    assert rates[2] == 2e-3
    assert rates[3] == rates[8] == 1e-3  # step 3 came again, at half the rate
    assert any("returned to the last checkpoint" in event.get("event", "") for event in _events(tmp_path))
    assert [path.name[5:13] for path in checkpoints(tmp_path)] == ["00000008", "00000006", "00000004"]
    assert torch.load(checkpoints(tmp_path)[0], weights_only=True)["returns"] == 1


def test_a_run_that_keeps_failing_stops_with_a_report(
    fabric: Fabric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt = _spoil(monkeypatch, {3, 4, 5})
    run = _run(_recipe(steps=8, patience=2, returns=2), tmp_path, fabric)
    run.begin()
    with pytest.raises(Diverged, match="the run was stopped at step 6: 3 of the last steps were not finite") as caught:
        run.train()
    assert spoilt == [3, 4, 5] * 3
    assert "after 2 returns" in str(caught.value)
    assert "largest latent" in str(caught.value)
    assert checkpoints(tmp_path)[0].name == "step-00000002.pt"


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
    sick = diagnose(model, hr, lr, None)
    assert sick.layer == "flow.levels.1.steps.0.coupling.subnet"
    assert sick.weights == ["flow.levels.1.steps.0.coupling.subnet.last.weight"]
    assert "flow.levels.1.steps.0.coupling.subnet" in sick.report()
    assert math.isnan(sick.largest_latent)


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
