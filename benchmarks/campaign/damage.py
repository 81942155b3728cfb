"""Damage to a file's bytes."""

from __future__ import annotations

import struct

from benchmarks.campaign.trial import Random, pick

_EXTREME = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def damaged(data: bytes, random: Random) -> tuple[str, bytes]:
    """One kind of damage, by its name, at a place drawn from the whole file or, as often, from its first 200 bytes."""
    kind = pick(random, (truncated, flipped, flipped, zeroed, number, number, cut, doubled, swapped))
    return kind.__name__, kind(data, random)


def truncated(data: bytes, random: Random) -> bytes:
    return data[: int(random.integers(len(data)))]


def flipped(data: bytes, random: Random) -> bytes:
    """One bit."""
    place = _place(data, random)
    return data[:place] + bytes([data[place] ^ 1 << int(random.integers(8))]) + data[place + 1 :]


def zeroed(data: bytes, random: Random) -> bytes:
    """A block of 4 KiB, or of an eighth of a small file."""
    size = min(4096, len(data) // 8 + 1)
    place = int(random.integers(len(data) - size + 1))
    return data[:place] + bytes(size) + data[place + size :]


def number(data: bytes, random: Random) -> bytes:
    """A number of 2 or 4 bytes becomes an extreme one."""
    size, order, place = pick(random, (2, 4)), pick(random, "<>"), _place(data, random)
    value = pick(random, _EXTREME) & (1 << 8 * size) - 1
    return (data[:place] + struct.pack(order + {2: "H", 4: "I"}[size], value) + data[place + size :])[: len(data)]


def cut(data: bytes, random: Random) -> bytes:
    """Some bytes are gone."""
    place = _place(data, random)
    return data[:place] + data[place + int(random.integers(1, 64)) :]


def doubled(data: bytes, random: Random) -> bytes:
    """Some bytes come twice."""
    place, size = _place(data, random), int(random.integers(1, 64))
    return data[: place + size] + data[place:]


def swapped(data: bytes, random: Random) -> bytes:
    """Two halves of a part change places."""
    first, middle, last = sorted(int(random.integers(len(data))) for _ in range(3))
    return data[:first] + data[middle:last] + data[first:middle] + data[last:]


def _place(data: bytes, random: Random) -> int:
    return int(random.integers(min(len(data), pick(random, (200, len(data))))))
