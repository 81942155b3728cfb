"""What small steps tell of a whole one."""

from __future__ import annotations

from typing import Any

import pytest

from ncsr.data.loader import Batch
from ncsr.training import dry_run
from tests.training.conftest import make_recipe

_FIXED, _HELD = 0.4, 2.0  # seconds and GiB, whatever the crops are


class _Machine:
    """A trainer with a clock: seconds and GiB beyond the fixed ones grow with a step's pixels."""

    def __init__(self, seconds_per_pixel: float) -> None:
        self.rate, self.clock, self.peak = seconds_per_pixel, 0.0, _HELD
        self.steps: list[float] = []

    def start(self, batch: Batch) -> None:
        pass

    def advance(self, batch: Batch) -> None:
        pixels = batch.hr.shape[0] * batch.hr.shape[2] * batch.hr.shape[3]
        self.steps.append(_FIXED + self.rate * pixels)
        self.clock += self.steps[-1]
        self.peak = max(self.peak, _HELD + 1e-6 * pixels)

    def seconds_of(self, job: Any, repeats: int) -> float:
        before = self.clock
        job()
        return self.clock - before


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("rate", [1e-7, 1e-5, 2e-4])  # seconds per pixel
def test_a_whole_step_from_small_ones(rate: float, accumulate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = make_recipe(batch=8, crop=160, accumulate=accumulate)
    machine = _Machine(rate)
    monkeypatch.setattr(dry_run, "seconds_of", machine.seconds_of)
    monkeypatch.setattr(dry_run, "resident", lambda: _HELD * 2**30)
    monkeypatch.setattr(dry_run, "peak_memory_gib", lambda: machine.peak)
    seconds, memory = dry_run._extrapolated(machine, recipe, 8)  # type: ignore[arg-type]
    assert seconds == pytest.approx(_FIXED + rate * 8 * 160**2)
    assert memory == pytest.approx(_HELD + 1e-6 * 8 / accumulate * 160**2)
    assert max(machine.steps) <= dry_run._LONG
