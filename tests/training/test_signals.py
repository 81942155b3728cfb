"""Runs that are stopped by signals, in real processes."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import ncsr
from ncsr.training.checkpoints import read_newest
from ncsr.training.signals import stoppable
from tests.conftest import TINY
from tests.training.conftest import (
    read_steps,
    start_ncsr,
    train_command,
    wait_until,
)


def test_signals_save_and_say_how_to_go_on(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "a run"
    process = start_ncsr(train_command(recipe, run))
    wait_until(process, lambda: len(read_steps(run)) >= 2)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    state, damaged = read_newest(run)
    assert state["step"] == len(read_steps(run))
    assert damaged == []
    said = next(line for line in err.splitlines() if line.startswith("saved; go on with: "))
    again = shlex.split(said.partition(": ")[2])
    assert again == ["ncsr", *train_command(recipe, run), "--resume"]
    process = start_ncsr(again[1:])
    wait_until(process, lambda: len(read_steps(run)) > state["step"] + 1)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)  # which ends it at once, whether or not it has saved
    _, err = process.communicate(timeout=60)
    assert process.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM, -signal.SIGTERM), err
    assert "Traceback" not in err
    assert [step["step"] for step in read_steps(run)] == list(range(1, len(read_steps(run)) + 1))
    after, damaged = read_newest(run)
    assert state["step"] <= after["step"] <= len(read_steps(run))
    assert damaged == []
    assert ncsr.load(run / "model").config == TINY


@pytest.fixture
def _ctrl_c_is_heard() -> Iterator[None]:
    """What runs in a shell's background ignores Ctrl-C, and hands that on to the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class _Terminated(Exception):
    """What SIGTERM is here, where the system's end would end the tests."""


@pytest.mark.usefixtures("_ctrl_c_is_heard")
@pytest.mark.parametrize(("second", "acts"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, _Terminated)])
@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_acts_as_usual(
    first: signal.Signals, second: signal.Signals, acts: type[BaseException]
) -> None:
    """Ctrl-C is Python's exception, which ends the run as it ends every command, SIGTERM the system's end."""

    def terminate(*_: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        with stoppable() as stop:
            signal.raise_signal(first)
            assert stop.signal == first
            with pytest.raises(acts):
                signal.raise_signal(second)
        assert signal.getsignal(signal.SIGTERM) is terminate
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
