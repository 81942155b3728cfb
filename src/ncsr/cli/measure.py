"""`ncsr measure`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ncsr.cli.evaluate import HR, LR, LpipsWeights, Output, Pictures, check_scale


def measure(
    hr: HR,
    sr: Annotated[
        list[Path],
        typer.Option("--sr", metavar="DIR", help="Folder of images to measure; repeated, they are compared."),
    ],
    scale: Annotated[int, typer.Option("-s", "--scale", help="4 or 8.")],
    output: Output,
    pattern: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Names of other tools, without suffix: {stem} is the photograph's, {scale} 4 or 8, as in {stem}_out.",
            show_default="{stem} or {stem}x{scale}",
        ),
    ] = None,
    lr: LR = None,
    lpips_weights: LpipsWeights = None,
    pictures: Pictures = 20,
) -> None:
    """Measure images that anything made, by the same protocol and with the same report as evaluate.

    Names: 000000_sample00000.png, ... (NTIRE: the number counts the sorted photographs), or the photograph's name with
    _s0, _s1, ... or nothing behind it, or as --pattern says. Bicubic is measured as well.
    """
    from ncsr.cli.reporting import write_report
    from ncsr.evaluation.methods import Bicubic, ImageFolder
    from ncsr.evaluation.pairs import check_pattern, find_pairs, match_samples
    from ncsr.evaluation.run import Evaluation
    from ncsr.metrics import LPIPS
    from ncsr.runtime.torchrun import Processes

    check_scale(scale)
    if pattern is not None:
        check_pattern(pattern)
    with Processes() as processes:
        photographs, without_lr = find_pairs(hr, lr, scale)
        photographs, problems = match_samples(photographs, sr, scale, pattern)
        methods = [Bicubic(), *(ImageFolder(folder, i) for i, folder in enumerate(sr))]
        work = Evaluation(hr, lr, output, scale, methods, photographs, [], pictures, LPIPS(lpips_weights))
        raise typer.Exit(write_report(work, processes, [*without_lr, *problems]))
