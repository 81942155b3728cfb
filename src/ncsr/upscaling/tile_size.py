"""The side of the tiles (`--tile`): as large as half of the available memory allows, unless it is given."""

from __future__ import annotations

from numbers import Integral

from ncsr.config import ModelConfig
from ncsr.errors import InputError, brief
from ncsr.model import NCSR
from ncsr.runtime.memory import available, tightest

OVERLAP = 16  # LR pixels around a tile
SMALLEST = 16  # LR pixels
LARGEST = 256  # LR pixels: the largest side that is chosen; larger tiles are hardly faster
_SHARE = 0.5  # of the available memory, for tiles
_FRAGMENTED = 0.9  # extra memory that many tiles take, relative to one: glibc keeps freed blocks that do not fit later
_MANY = 16  # tiles after the first at which that extra is reached; fewer take proportionally less
_FIXED_BYTES = 2**25  # what any tile takes, however small
AT_A_TIME = 2**14  # LR pixels of samples that are decoded together; between two decodings progress is reported


def tile_bytes(config: ModelConfig, pixels: int, low: bool) -> int:
    """Peak memory in bytes for computing a window, not counting the model (measured: up to a quarter less).

    Args:
        config: of the model.
        pixels: LR pixels of the window.
        low: whether it is computed in bfloat16.
    """
    encoder, flow, s = config.encoder, config.flow, config.scale
    size = 2 if low else 4
    if flow is None:
        return _FIXED_BYTES + pixels * 3 * encoder.features * s**2 * size
    channels, held = 3, 0.0
    for level in range(1, flow.levels + 1):
        channels *= 4
        step = flow.hidden * size + 3 * channels * 4  # the coupling's context; shift, scale and its logarithm
        held += flow.steps * step * (s / 2**level) ** 2
        channels //= 2 if level + 1 < flow.levels else 1
    making = size * (3 * encoder.features * (s // 2) ** 2 + 2 * (encoder.features + 4 * encoder.growth))
    drawing = 64 * s**2 * max(pixels, AT_A_TIME)
    return _FIXED_BYTES + int(pixels * (1.1 * held + making)) + drawing


def tiles_bytes(model: NCSR, height: int, width: int, side: int) -> int:
    """Peak memory in bytes for computing all tiles of an image, one after the other, not counting the model.

    Several tiles take up to 1.9 times what the largest does (measured: 9 tiles 1.45 times, 48 tiles 1.9 times), since
    glibc keeps freed blocks below 32 MiB, and the tensors of the next tile, of other sizes, do not fit into all.
    """
    window, count = _longest(height, side) * _longest(width, side), -(-height // side) * -(-width // side)
    one = tile_bytes(model.config, window, model.low_precision(sampling=True))
    return one + int((one - _FIXED_BYTES) * _FRAGMENTED * min(1.0, (count - 1) / _MANY))


def check_tile(tile: int | None) -> None:
    """Raise InputError unless a tile is None (chosen by memory) or a whole number of at least 16 LR pixels."""
    if tile is not None and not isinstance(tile, Integral):
        raise InputError(f"a tile is a whole number of LR pixels, got {brief(tile)}")
    if tile is not None and tile < SMALLEST:
        raise InputError(f"a tile must be at least {SMALLEST} LR pixels, got {tile}")


def choose_side(model: NCSR, height: int, width: int, tile: int | None) -> int:
    """The side of the tiles in LR pixels: the one asked for, or the largest that fits into half of the free memory.

    Args:
        model: its widths and its device decide how much memory a tile takes, and how much there is.
        height: of the image, LR pixels.
        width: of the image, LR pixels.
        tile: the side asked for, rounded up to an even number; None chooses one from 16 to 256.

    Raises:
        InputError: a side below 16 LR pixels was asked for; there is no memory even for that.
    """
    check_tile(tile)
    if tile is not None:
        return int(tile + tile % 2)
    free, longer = available(model.device), max(height, width)

    for parts in range(-(-longer // LARGEST), longer // SMALLEST + 1):
        side = max(SMALLEST, -(-longer // (4 * parts)) * 4)  # a multiple of 4, so that half of it nests in it
        if tiles_bytes(model, height, width, side) <= _SHARE * free:
            return side
    needed = tiles_bytes(model, height, width, SMALLEST)
    if needed > free:
        raise out_of_memory(model, SMALLEST, needed)
    return SMALLEST


def out_of_memory(model: NCSR, side: int, needed: int) -> InputError:
    """The error for tiles that need more bytes than there are."""
    _, where, remedy = tightest(model.device)
    other = f"choose a smaller --tile than {side}" if side > SMALLEST else "take a smaller model"
    return InputError(
        f"not enough memory for tiles of {side} LR pixels: about {needed / 2**20:.0f} MiB are needed, "
        f"{available(model.device) / 2**20:.0f} MiB are free{where}; {remedy} or {other}"
    )


def _longest(length: int, side: int) -> int:
    """The longest window along a length that is cut into tiles of `side`."""
    if length <= side:
        return length
    return min(length, side + OVERLAP * (1 if length <= 2 * side else 2))
