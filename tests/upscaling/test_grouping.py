"""Groups of equal keys: full ones come at once, and few items are kept waiting."""

from __future__ import annotations

from ncsr.upscaling.grouping import group_by_key


def test_groups() -> None:
    def run(text: str, most: int, window: int) -> list[str]:
        keys = {"-": None}
        return ["".join(g) for g in group_by_key(text, lambda c: keys.get(c, c), lambda c: most, window)]

    assert run("aabab", 3, 9) == ["aaa", "bb"]
    assert run("abababab", 3, 9) == ["aaa", "bbb", "a", "b"]
    assert run("a-b-a", 3, 9) == ["-", "-", "aa", "b"]
    assert sorted("".join(run("abcda", 3, 3))) == sorted("abcda")
    assert run("aababaa", 9, 3) == ["aa", "b", "aa", "b", "a"]  # aab, aba, a
    assert run("", 3, 3) == []


def test_few_items_are_kept_waiting() -> None:
    taken: list[int] = []
    groups = group_by_key((taken.append(i) or i for i in range(100)), lambda i: i, lambda i: 2, 5)  # type: ignore[func-returns-value]
    next(groups)
    assert len(taken) == 5
