"""The paper's figures as they are printed."""

from __future__ import annotations

import re

import pytest

from ncsr.evaluation.paper.items import Item, items, read_item
from ncsr.evaluation.tables import MEASURES
from ncsr.training.recipe import load_recipe


def printed(item: Item, *measures: str) -> list[tuple[str, ...]]:
    return [(s.role, *(s.figures[m] for m in measures)) for s in item.rows]


def test_tables_1_and_2() -> None:
    order = ("lpips", "lr_psnr_mean", "diversity")
    assert printed(read_item("table1"), *order) == [
        ("RRDB", "0.253", "49.20", "0"),
        ("ESRGAN", "0.124", "39.03", "0"),
        ("ESRGAN+", "0.279", "35.45", "22.13"),
        ("SRFlow", "0.120", "49.97", "25.26"),
        ("NCSR", "0.119", "50.75", "26.72"),
        ("NCSR-extra", "0.118", "50.88", "26.79"),
    ]
    assert printed(read_item("table2"), *order) == [
        ("RRDB", "0.419", "45.43", "0"),
        ("ESRGAN", "0.277", "31.35", "0"),
        ("SRFlow", "0.272", "50.00", "25.31"),
        ("NCSR", "0.278", "44.55", "26.8"),
        ("NCSR-extra", "0.253", "49.97", "25.7"),
    ]


def test_tables_3_and_4() -> None:
    order = ("lpips", "ntire_lr_psnr_mean", "diversity")
    third, fourth = printed(read_item("table3"), *order), printed(read_item("table4"), *order)
    assert third[-4:] == [
        ("CIPLAB", "0.121", "50.70", "23.091"),
        ("BeWater", "0.137", "49.59", "23.948"),
        ("njtech-seu", "0.149", "46.74", "26.924"),
        ("Deepest", "0.117", "50.54", "26.041"),
    ]
    assert fourth[-4:] == [
        ("CIPLAB", "0.266", "50.86", "23.320"),
        ("BeWater", "0.297", "49.63", "23.700"),
        ("njtech-seu", "0.366", "29.65", "28.193"),
        ("Deepest", "0.259", "48.64", "26.941"),
    ]
    assert (len(third), len(fourth)) == (11, 10)
    assert {line[0] for line in third} - {line[0] for line in fourth} == {"nanbeihuishi"}
    places = []
    for lines in (third, fourth):  # section 5: among teams over 45 dB
        reached = [line for line in lines if float(line[2]) >= 45]
        by_lpips = sorted(reached, key=lambda line: float(line[1]))
        by_diversity = sorted(reached, key=lambda line: -float(line[3]))
        places.append([[line[0] for line in order].index("Deepest") + 1 for order in (by_lpips, by_diversity)])
    assert places == [[1, 2], [1, 1]]


def test_ablations_and_figure_2() -> None:
    assert printed(read_item("table5"), "diversity", "lpips", "lr_psnr_mean", "lr_psnr_worst") == [
        ("no-layer", "25.38", "0.1228", "50.08", "47.32"),
        ("NCSR", "26.72", "0.1193", "50.75", "49.14"),
    ]
    sixth = read_item("table6")
    assert printed(sixth, "lr_psnr_worst") == [
        ("no-layer", "47.32"),
        ("std", "45.78"),
        ("all-levels", "49.01"),
        ("NCSR", "49.14"),
        ("NCSR-extra", "50.13"),
    ]
    marks = ["".join("X✓"[mark] for mark in s.marks.values()) for s in sixth.rows]
    assert marks == ["XXXX", "X✓✓X", "✓XXX", "✓X✓X", "✓X✓✓"]
    assert read_item("figure2").photographs == {"0828": "21.53", "0873": "24.11"}


@pytest.mark.parametrize("name", items())
def test_every_item_is_whole(name: str) -> None:
    item = read_item(name)
    assert item.title == f"{name[:-1].capitalize()} {name[-1]}"
    measures = item.measures
    assert set(measures) <= {m.name for m in MEASURES}
    for subject in item.rows:
        assert set(subject.figures) == (set(measures) if item.kind == "table" else set())
        assert not re.search(r"[&* ]", subject.role)  # to be typed into a shell
        if subject.recipe:
            model = load_recipe(subject.recipe).model
            assert (model.scale, model.flow is not None) == (item.scale_of(subject), subject.flow)
            assert subject.temperature in (None, model.temperature)
    assert len(items()) == 10
