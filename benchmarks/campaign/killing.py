"""When a process is killed: at random, as a temporary file appears, just before or after files change names."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.campaign.trial import Random, pick

_CALLS = ("replace", "fsync", "unlink", "mkdir")


@dataclass(frozen=True)
class Kill:
    """A plan for one process."""

    what: str
    before: Callable[[], None] | None = None
    """For the process to call first."""
    due: Callable[[float], bool] | None = None
    """Told the seconds since its start."""


def draw_kill(random: Random, seconds: float, folder: Path) -> Kill:
    """A plan.

    Args:
        random: numbers.
        seconds: of a whole run of the command.
        folder: of its results, where temporary files appear.
    """
    if random.random() < 0.5:
        after = random.uniform(0, 1.05 * seconds)
        return Kill(f"killed after {after:.2f} s", due=lambda now: now > after)
    if random.random() < 0.4:
        count = int(random.integers(1, 12))
        seen: set[str] = set()

        def appeared(now: float) -> bool:
            for place, folders, files in os.walk(folder):
                seen.update(f"{place}/{name}" for name in (*folders, *files) if name.startswith("."))
            return len(seen) >= count

        return Kill(f"killed at temporary file {count}", due=appeared)
    call, number, late = pick(random, _CALLS), int(random.integers(1, 12)), bool(random.integers(2))
    return Kill(f"killed {'after' if late else 'before'} {call} {number}", before=lambda: _die_at(call, number, late))


def _die_at(name: str, number: int, late: bool) -> None:
    """Have this process kill itself at a call of a function of `os`."""
    function, calls = getattr(os, name), 0

    def fatal(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and not late:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **more)
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(os, name, fatal)
