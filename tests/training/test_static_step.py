"""The step that a GPU captures as a graph; here its operations run one by one."""

from __future__ import annotations

import copy
import sys
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from ncsr.data.loader import Batch
from ncsr.flow.conv1x1 import Conv1x1, LogAbsDets
from ncsr.flow.elementwise import UNFUSED
from ncsr.training import static_step, trainer
from ncsr.training.trainer import Trainer
from tests.models import lively_model
from tests.recorder import StepRecorder
from tests.training.conftest import L1, make_batches, make_recipe, started_trainer


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    """In float64: Adam's first steps go by the sign of gradients that are zero but for rounding."""
    return Fabric(accelerator="cpu", devices=1, precision="64-true")


def trainers(fabric: Fabric, **changes: Any) -> list[Trainer]:
    """One that takes steps as everywhere, one that takes static steps."""
    recipe = make_recipe(**{"steps": 20, "average": 0.75, "clip": 0.5} | changes)
    plain, static = (started_trainer(recipe, fabric) for _ in range(2))
    plain.static, static.static = False, True
    return [plain, static]


def assert_near(plain: Trainer, static: Trainer) -> None:
    """Weights and their average agree."""
    for one, other in ((plain.model, static.model), (plain.result(), static.result())):
        for (name, a), b in zip(one.named_parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("changes", [{}, L1, {"accumulate": 2}, {"encoder_frozen": 0.2}, {"average": 0.0}])
def test_steps_are_those_of_the_plain_trainer(fabric: Fabric, changes: dict[str, Any]) -> None:
    plain, static = trainers(fabric, **changes)
    for _, single in zip(range(6), make_batches(plain.recipe), strict=False):
        batch = Batch(*(None if column is None else column.double() for column in single))
        expected = plain.advance(batch)
        static.enqueue(batch)
    results = static.results()
    assert [result.step for result in results] == [1, 2, 3, 4, 5, 6]
    assert results[-1]._replace(norm=0) == pytest.approx(expected._replace(norm=0), abs=1e-4)
    assert results[-1].norm == pytest.approx(expected.norm, rel=1e-3)
    assert_near(plain, static)
    assert static.results() == []


@pytest.fixture
def recorders(monkeypatch: pytest.MonkeyPatch) -> list[StepRecorder]:
    """Static steps are "captured" by these, on CPUs."""
    made: list[StepRecorder] = []

    def new(device: torch.device) -> StepRecorder:
        made.append(StepRecorder(device))
        return made[-1]

    monkeypatch.setattr(static_step, "new_recorder", new)
    return made


def advance_both(plain: Trainer, static: Trainer, steps: int) -> None:
    for _, single in zip(range(steps), make_batches(plain.recipe), strict=False):
        batch = Batch(*(None if column is None else column.double() for column in single))
        plain.advance(batch)
        static.enqueue(batch)


def test_fused_operations_in_a_graph_give_the_same_steps(fabric: Fabric, recorders: list[StepRecorder]) -> None:
    """Captured again when the encoder starts to train."""
    plain, static = trainers(fabric, encoder_frozen=0.25)
    static.fused = UNFUSED
    advance_both(plain, static, 10)
    assert_near(plain, static)
    assert [(r.runs, r.captures, r.replays) for r in recorders] == [(3, 1, 1), (3, 1, 2)]


@pytest.mark.parametrize(("fails", "replays"), [("fusing", 2), ("capturing", 0)])
def test_what_fails_is_done_without(
    fabric: Fabric,
    recorders: list[StepRecorder],
    fails: str,
    replays: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain, static = trainers(fabric)

    def broken(*_: object) -> Any:
        raise RuntimeError("no compiler here\nand a long report")

    static.fused = UNFUSED._replace(shift_and_scale=broken) if fails == "fusing" else UNFUSED
    if fails == "capturing":
        monkeypatch.setattr(StepRecorder, "capture", broken)
    advance_both(plain, static, 9 if fails == "capturing" else 6)
    assert_near(plain, static)
    sentences = [
        "the elementwise operations of the flow cannot be fused",
        "a step cannot be captured as a CUDA graph",
    ]
    assert capsys.readouterr().err.splitlines() == [
        f"{sentence} here, so training is slower: no compiler here"
        for sentence in sentences[: 2 if fails == "capturing" else 1]
    ]
    assert [recorder.replays for recorder in recorders] == [replays]


def test_there_may_be_no_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows, say: steps are taken without its kernels."""
    monkeypatch.setitem(sys.modules, "ncsr.flow.triton_kernels", None)
    assert trainer._fused() is None


def test_on_a_device(device: torch.device) -> None:
    """On a GPU as a graph. Its sums have no order, and Adam goes by the sign of what is zero but for rounding."""
    plain, static = trainers(Fabric(accelerator=device.type, devices=1))
    for _, batch in zip(range(6), make_batches(plain.recipe), strict=False):
        plain.enqueue(batch)
        static.enqueue(batch)
    losses = [[result.loss for result in trainer.results()] for trainer in (plain, static)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-3)
    assert static.result().device.type == device.type


def test_a_step_that_is_not_finite_changes_nothing(fabric: Fabric) -> None:
    plain, static = trainers(fabric)
    batches = make_batches(plain.recipe)
    for kind in ("good", "good", "bad", "good", "bad", "good"):
        batch = next(batches)
        if kind == "bad":
            batch = Batch(batch.hr.clone().fill_(float("nan")), *batch[1:])
        plain.advance(batch)
        static.enqueue(batch)
    assert [result.taken for result in static.results()] == [True, True, False, True, False, True]
    assert static.skipped == plain.skipped == [2, 4]
    assert_near(plain, static)
    steps = [{int(state["step"]) for state in t.optimiser.state.values()} for t in (plain, static)]
    assert steps == [{4}, {4}]


def test_states_are_exchanged(fabric: Fabric) -> None:
    """A checkpoint of either kind of step is gone on with by the other."""
    plain, static = trainers(fabric)
    batches = make_batches(plain.recipe)
    for _ in range(3):
        static.enqueue(next(batches))
    static.results()
    plain.restore(copy.deepcopy(static.state()))
    for batch in (next(batches), next(batches)):
        assert plain.advance(batch).loss == pytest.approx(static.advance(batch).loss, abs=1e-4)
    static.restore(copy.deepcopy(plain.state()))
    batch = next(batches)
    assert plain.advance(batch).loss == pytest.approx(static.advance(batch).loss, abs=1e-4)
    assert_near(plain, static)


def test_log_determinants_by_one_call_per_size() -> None:
    model = lively_model()
    convolutions = [module for module in model.modules() if isinstance(module, Conv1x1)]
    known, x = LogAbsDets(convolutions), torch.zeros(2, 1, 3, 5).double()
    assert len(known._groups) < len(convolutions)
    known.update()
    for convolution in convolutions:
        expected = convolution._log_det(x)
        with known:
            actual = convolution._log_det(x)
        torch.testing.assert_close(actual, expected)
        gradients = [torch.autograd.grad(value.sum(), convolution.weight)[0] for value in (actual, expected)]
        torch.testing.assert_close(*gradients)
        assert convolution._known is None
