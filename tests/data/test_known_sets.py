"""The photographs of well-known sets."""

from __future__ import annotations

from ncsr.data.known_sets import KnownSet, deviations


def test_the_sizes_of_the_known_sets() -> None:
    sizes = {"div2k": 900, "div2k-train": 800, "div2k-valid": 100, "flickr2k": 2650, "df2k": 3450, "unsplash2k": 498}
    assert {known.value for known in KnownSet} == sizes.keys()
    for name, size in sizes.items():
        assert deviations(KnownSet(name), ["x"] * (size + 1))[0] == f"{name} has {size} photographs, found {size + 1}"
    assert deviations(KnownSet.UNSPLASH2K, [f"{i}.jpg" for i in range(498)]) == []


def test_names_that_deviate_from_a_known_set() -> None:
    names = [f"{i:04}.png" for i in range(801, 901)]
    assert deviations(KnownSet.DIV2K_VALID, names) == []
    assert deviations(KnownSet.DIV2K_VALID, names[::-1]) == []
    assert deviations(KnownSet.DIV2K_VALID, [*names[3:-1], "0820.jpg", "0850.png", "0001.png", "0002.png"]) == [
        "4 missing: 0801.png to 0803.png, 0900.png",
        "4 surplus: 0001.png to 0002.png, 0820.jpg, 0850.png",
    ]
