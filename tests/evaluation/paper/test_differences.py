"""What is said of a reproduction's photographs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from ncsr.evaluation.paper.differences import _among_the_papers, _training, card


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


def test_a_card_in_another_encoding_is_read_as_far_as_it_can_be(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(b"# Model\n\n## Training\n\nOn photographs of K\xf6ln.\n\n## Else\n")
    assert card(SimpleNamespace(folder=tmp_path, config=object())) == "## Training\n\nOn photographs of K\ufffdln."


@pytest.mark.parametrize("content", ["foo: [1, 2\n", "inherit: nosuch\n"])
def test_a_recipe_that_cannot_be_read_is_none(tmp_path: Path, content: str) -> None:
    """The report, which took long to measure, is not lost for a file that it would have quoted."""
    (tmp_path / "recipe.yaml").write_text(content)
    entry = SimpleNamespace(folder=tmp_path / "model", config=object())
    assert _training("NCSR", entry, None) == "NCSR: how it was trained is not recorded beside it."
