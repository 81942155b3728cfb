"""`ncsr prepare`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from ncsr.data.known_sets import KnownSet, deviations
from ncsr.data.listing import PhotoFile, find_broken, large_enough, list_photos, nothing_left
from ncsr.data.packing import pack_photos
from ncsr.errors import InputError
from ncsr.images import find_photos


def prepare(
    data: Annotated[list[Path], typer.Argument(metavar="DATA", help="Folders of photographs, searched recursively.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Packed file to write, for `ncsr train --data`.")
    ] = None,
    check: Annotated[
        KnownSet | None, typer.Option(help="Check that DATA is this set, all of it; if not, nothing is packed.")
    ] = None,
    smallest: Annotated[
        int, typer.Option(min=1, help="Leave out photographs with a side shorter than this, the crop of the training.")
    ] = 160,
    side: Annotated[int, typer.Option(min=1, help="Side of the tiles that photographs are stored as.")] = 128,
) -> None:
    """Pack photographs for fast training, or check that a set of them is complete.

    A packed file gives the same crops as its folders, but whole photographs are no longer decoded for them.
    """
    if output is None and check is None:
        raise InputError("nothing to do: give -o FILE.lmdb to pack the photographs, --check SET to check them, or both")
    files: list[PhotoFile] = []
    problems: list[str] = []
    for folder in data:
        found, broken = list_photos(folder)
        large, small = large_enough(found, smallest)
        files += large
        problems += broken + small
    if not files:
        raise nothing_left(data, smallest, problems)
    names = [path.name for folder in data for path in find_photos(folder, recursive=True)]
    deviates = [] if check is None else deviations(check, names)
    if output is None:
        with _progress(len(files)) as advance:
            problems += find_broken(files, advance)
    elif not deviates:
        with _progress(len(files)) as advance:
            problems += pack_photos(files, output, side=side, progress=advance)
        print(f"{output}: {len(names) - len(problems)} photographs, {output.stat().st_size / 1e6:.0f} MB")
    problems = deviates + problems
    for problem in problems:
        print(f"ncsr: {problem}", file=sys.stderr)
    if check is not None and not problems:
        print(f"{check.value} is complete: {len(names)} photographs")
    if problems:
        raise typer.Exit(2 if deviates and output is not None else 1)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar on the terminal, and what moves it on by one photograph."""
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)
