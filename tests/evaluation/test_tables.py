"""Tables of figures: the best of a line, intervals, what is missing, and their Markdown."""

from __future__ import annotations

import math

from ncsr.evaluation.tables import NONE, Cell, Interval, Table, csv_text, table_of


def test_a_table_has_a_line_for_each_measure_and_marks_the_best() -> None:
    rows = {
        "a|b": {"luma_psnr": Interval(30.0, 0.126), "lpips": Interval(0.2), "grain": Interval(math.nan)},
        "c": {"luma_psnr": Interval(math.inf), "lpips": Interval(0.1)},
    }
    table = table_of(rows)
    assert table.head == [Cell("a|b"), Cell("c")]
    assert table.lines == [
        ("PSNR, luma (dB)\N{NO-BREAK SPACE}↑", [Cell("30.00", "± 0.13"), Cell("inf", best=True)]),
        ("LPIPS\N{NO-BREAK SPACE}↓", [Cell("0.2000"), Cell("0.1000", best=True)]),
        ("Grain (1 is ideal)", [Cell(NONE), Cell(NONE)]),
    ]
    assert table.markdown() == [
        "| | a/b | c |",
        "|---|---:|---:|",
        "| PSNR, luma (dB) ↑ | 30.00 ± 0.13 | inf |",
        "| LPIPS ↓ | 0.2000 | 0.1000 |",
        "| Grain (1 is ideal) | – | – |",
    ]
    assert not any(cell.best for _, cells in table_of(rows, mark_best=False).lines for cell in cells)


def test_csv_leaves_out_what_has_no_column() -> None:
    assert csv_text(["a", "b"], [{"a": 1, "c": 2}, {"b": None, "a": math.inf}]) == "a,b\n1,\ninf,\n"


def test_names_are_neither_formulas_nor_html() -> None:
    text = csv_text(["name", "psnr"], [{"name": "=1+1.png", "psnr": -1.5}, {"name": "a\rb.png", "psnr": 2.0}])
    assert text == "name,psnr\n'=1+1.png,-1.5\na\\rb.png,2.0\n"
    assert Table([], [("<b>x", [])]).markdown()[-1].startswith("| &lt;b&gt;x |")
