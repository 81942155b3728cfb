"""The report of a reproduction."""

from __future__ import annotations

from types import SimpleNamespace

from ncsr.evaluation.paper.items import read_item
from ncsr.evaluation.paper.report import _figure_lines


def test_every_photograph_has_its_line() -> None:
    """Also those whose names differ in their suffixes alone, or have none."""
    names = ["0801.png", "0801.jpg", "first", "second"]
    results = SimpleNamespace(records=[{"name": name, "figures": {"row": {}}} for name in names])
    method = SimpleNamespace(
        method=SimpleNamespace(row=SimpleNamespace(name="row")), paper=SimpleNamespace(label="ours")
    )
    _, lines = _figure_lines(read_item("figure2"), [method], results)
    assert [label for label, _ in lines][:4] == [f"{name}, ours" for name in names]
