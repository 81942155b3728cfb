"""What campaigns are made of: trials, each repeatable by the campaign's name, a seed and an index."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Random = np.random.Generator


@dataclass
class Outcome:
    """What became of one trial."""

    what: str
    """What was done to the command, in a few words."""
    ending: str = ""
    """How it ended: enlarged, refused, ...; counted."""
    faults: list[str] = field(default_factory=list)
    """`kind: what was seen`, one for each promise that was broken."""


@dataclass(frozen=True)
class Campaign:
    """Trials of one kind."""

    name: str
    trials: int
    """Of a whole campaign."""
    quick: int
    """Of one slice of it."""
    prepare: Callable[[Path], Any]
    """Makes in a folder what all trials share, and returns it."""
    trial: Callable[[Any, int, Random, Path], Outcome]
    """One trial: what was prepared, the trial's index and random numbers, an empty folder."""


def random_of(name: str, seed: int, index: int) -> Random:
    """A trial's random numbers."""
    return np.random.default_rng([zlib.crc32(name.encode()), seed, index])


def pick(random: Random, choices: Any) -> Any:
    """One of a sequence."""
    return choices[int(random.integers(len(choices)))]
