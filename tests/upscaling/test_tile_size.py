"""The side of the tiles: as large as the memory allows."""

from __future__ import annotations

import pytest

from ncsr import NCSR, InputError
from ncsr.upscaling import tile_size
from ncsr.upscaling.tile_size import check_tile, choose_side, tile_bytes
from ncsr.upscaling.tiling import tiles
from tests.conftest import TINY


def test_a_tile_that_is_asked_for() -> None:
    check_tile(None)
    check_tile(16)
    with pytest.raises(InputError, match="a tile must be at least 16 LR pixels, got 15"):
        check_tile(15)


def test_no_memory_for_the_smallest_tile_is_said_first(tiny_model: NCSR, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile_size, "available", lambda device: 10 * 2**20)
    with pytest.raises(InputError, match=r"not enough memory for tiles of 16 LR pixels: .* 10 MiB are free"):
        choose_side(tiny_model, 100, 100, None)
    assert choose_side(tiny_model, 100, 100, 32) == 32
    needed = tile_size.tiles_bytes(tiny_model, 100, 100, 16)
    monkeypatch.setattr(tile_size, "available", lambda device: needed)
    assert choose_side(tiny_model, 100, 100, None) == 16


@pytest.mark.parametrize(("height", "width", "side"), [(40, 61, 64), (40, 61, 40), (90, 200, 60), (33, 33, 32)])
def test_memory_is_that_of_the_largest_window(tiny_model: NCSR, height: int, width: int, side: int) -> None:
    largest = max(tile.pixels for tile in tiles(height, width, side))
    count = len(list(tiles(height, width, side)))
    one = tile_bytes(TINY, largest, False)
    scattered = int((one - 2**25) * 0.9 * min(count - 1, 16) / 16)
    assert tile_size.tiles_bytes(tiny_model, height, width, side) == one + scattered


def test_less_memory_smaller_tiles(tiny_model: NCSR, monkeypatch: pytest.MonkeyPatch) -> None:
    sides = []
    for mebibytes in (130, 260, 390, 4000):
        monkeypatch.setattr(tile_size, "available", lambda device, free=mebibytes: free * 2**20)
        sides.append(choose_side(tiny_model, 300, 400, None))
        assert sides[-1] == 16 or tile_size.tiles_bytes(tiny_model, 300, 400, sides[-1]) <= mebibytes * 2**19
    assert sides == sorted(set(sides))
    assert sides[-1] == 200
    assert choose_side(tiny_model, 100, 256, None) == 256
    assert choose_side(tiny_model, 4, 257, None) == 132
