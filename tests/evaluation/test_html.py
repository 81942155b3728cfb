"""Templates escape what they are given, and a table's figures keep their intervals."""

from __future__ import annotations

from ncsr.evaluation.html import render
from ncsr.evaluation.tables import Cell, Table


def test_names_are_escaped_and_figures_keep_their_intervals() -> None:
    table = Table([Cell("a<b", "paper")], [("<i>row</i>", [Cell("1.0", "± 0.2", best=True)]), ("&", [Cell("–")])])
    html = render("photograph.html", name="<script>.png", size="4 × 4", whole=[], closeups=[], table=table)
    assert "<h3>&lt;script&gt;.png <small>4 × 4</small></h3>" in html
    assert (
        "<tr><th></th><th>a&lt;b <small>paper</small></th></tr>"
        '<tr><th>&lt;i&gt;row&lt;/i&gt;</th><td class="best">1.0 <small>± 0.2</small></td></tr>'
        "<tr><th>&amp;</th><td>–</td></tr>"
    ) in html
