"""The photographs of which well-known sets consist, so that an incomplete download is found before training on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from enum import Enum
from itertools import groupby


class KnownSet(str, Enum):
    """Sets whose contents are known; the paper trains on df2k."""

    DIV2K = "div2k"
    DIV2K_TRAIN = "div2k-train"
    DIV2K_VALID = "div2k-valid"
    FLICKR2K = "flickr2k"
    DF2K = "df2k"
    UNSPLASH2K = "unsplash2k"


def _numbered(first: int, last: int, digits: int) -> list[str]:
    return [f"{number:0{digits}}.png" for number in range(first, last + 1)]


_DIV2K_TRAIN, _DIV2K_VALID, _FLICKR2K = _numbered(1, 800, 4), _numbered(801, 900, 4), _numbered(1, 2650, 6)

_NAMES = {
    KnownSet.DIV2K: _DIV2K_TRAIN + _DIV2K_VALID,
    KnownSet.DIV2K_TRAIN: _DIV2K_TRAIN,
    KnownSet.DIV2K_VALID: _DIV2K_VALID,
    KnownSet.FLICKR2K: _FLICKR2K,
    KnownSet.DF2K: _DIV2K_TRAIN + _FLICKR2K,
}
_COUNT = {known: len(names) for known, names in _NAMES.items()} | {KnownSet.UNSPLASH2K: 498}


def deviations(known: KnownSet, names: Sequence[str]) -> list[str]:
    """How a set's file names deviate from those it should have: a message each for number, missing and surplus ones.

    Of Unsplash2K only the number is known. A name that comes twice is surplus.
    """
    messages = []
    if len(names) != _COUNT[known]:
        messages.append(f"{known.value} has {_COUNT[known]} photographs, found {len(names)}")
    if known in _NAMES:
        expected, found = Counter(_NAMES[known]), Counter(names)
        for what, some, among in (("missing", expected - found, expected), ("surplus", found - expected, found)):
            if some:
                messages.append(f"{some.total()} {what}: {_ranges(some, sorted(among))}")
    return messages


def _ranges(chosen: Container[str], names: Sequence[str]) -> str:
    """The chosen ones of sorted names, with neighbours as ranges: `a, c to f`."""
    runs = [list(run) for is_chosen, run in groupby(names, chosen.__contains__) if is_chosen]
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)
