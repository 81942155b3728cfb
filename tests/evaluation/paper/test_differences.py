"""What is said of a reproduction's photographs."""

from __future__ import annotations

import pytest

from ncsr.evaluation.paper.differences import _among_the_papers


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["0801.png"], "1 of them by name among the paper's (0801)"),
        (["0900.png", "0799.png", "0901.png", "0899.jpg"], "2 of them by name among the paper's (0899 to 0900)"),
        (
            [f"{n:04}.png" for n in (801, 802, 803, 850)],
            "4 of them by name among the paper's (0801 to 0803, 0850)",
        ),
        (["img_001.png", "801.png"], "none of them by name among the paper's"),
    ],
)
def test_which_of_the_papers_photographs(names: list[str], sentence: str) -> None:
    assert _among_the_papers(names) == sentence
