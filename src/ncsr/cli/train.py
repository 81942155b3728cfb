"""`ncsr train`."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ncsr.cli.completion import recipe_names as recipe_completion
from ncsr.errors import InputError, brief, needs_extra, printable
from ncsr.runtime.memory import explain_exhaustion

_LESS = "take a smaller crop or batch (--set); what the run has saved stays, --resume goes on from there"


def _list_recipes(asked: bool) -> None:
    if asked:
        from ncsr.training.recipe import recipe_lines

        print("\n".join(recipe_lines()))
        raise typer.Exit


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="Bundled recipe (`ncsr train --list` shows them) or a YAML file; with --resume, that of the run.",
            autocompletion=recipe_completion,
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="Folder of HR photographs (searched recursively) or packed file; may be repeated."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder of the run; OUTPUT/model is the model.")
    ] = None,
    validate: Annotated[
        Path | None, typer.Option(help="Folder of photographs to measure on now and then; never trained on.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the newest checkpoint in OUTPUT.")] = False,
    init: Annotated[
        str | None,
        typer.Option(help="Model whose weights to start from: an RRDB for a flow's encoder, or a flow to continue."),
    ] = None,
    start_step: Annotated[
        int, typer.Option(min=0, help="With --init: the step of the recipe's schedule to start at.")
    ] = 0,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Train for so long instead of the recipe's steps; without --init, the recipe's encoder first, in a "
            "share of them."
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a recipe's value, as in --set model.encoder.blocks=8."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the resolved recipe, parameters, memory and time here; train nothing."),
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps; several processes by torchrun.")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Threads that make crops beside the training.")] = 0,
    list_: Annotated[
        bool,
        typer.Option("--list", help="List the bundled recipes and exit.", is_eager=True, callback=_list_recipes),
    ] = False,
    cache: Annotated[float, typer.Option(min=0, help="GiB of memory for decoded photographs.")] = 2.0,
) -> None:
    """Train a model by a recipe. LR images are made on the fly.

    OUTPUT gets checkpoints, the model, a TensorBoard log and log.jsonl. Ctrl-C and SIGTERM save before they end
    the run. Several processes: torchrun --nproc-per-node N -m ncsr train ...
    """
    from ncsr.pretrained.load import find_model
    from ncsr.training.recipe import load_recipe, recipe_names

    if recipe == "list":
        print("\n".join(recipe_names()))
        return
    with needs_extra("train", "training needs more packages", "lightning_fabric", "lmdb", "tensorboard"):
        from ncsr.training.dry_run import dry_run as describe
        from ncsr.training.launch import launch
        from ncsr.training.run import Diverged
        from ncsr.training.run import train as run
        from ncsr.training.signals import Interrupted
        from ncsr.training.stages import split_minutes, train_stages
    goes_by_run = recipe is None
    if recipe is None:
        recipe = _recipe_of(output, resume)
    resolved = load_recipe(
        recipe, dict(map(_override, changes or [])) | ({} if minutes is None else {"minutes": minutes})
    )
    first_encoder = resolved.minutes is not None and resolved.encoder_recipe is not None and init is None
    staged = first_encoder and not goes_by_run  # a run's own recipe is that of its last stage
    if dry_run:
        fabric = launch(device)
        print(*(describe(stage, fabric) for stage in (split_minutes(resolved) if staged else [resolved])), sep="\n\n")
        return
    if not data or output is None:
        raise InputError("training needs --data (photographs) and -o (the run's folder); --dry-run needs neither")
    if start_step and init is None:
        raise InputError(f"--start-step {start_step} goes with --init MODEL; --resume goes on by itself")
    if start_step and resolved.minutes is not None:
        raise InputError(f"--start-step {start_step} is a place in steps, and --minutes leave these aside: give one")
    if start_step >= resolved.steps:
        raise InputError(f"--start-step {start_step} is not before the recipe's end, step {resolved.steps}")
    start = None if init is None or resume else find_model(init)
    options: dict[str, Any] = {"held_out": validate, "device": device, "workers": workers, "cache": cache}
    try:
        with explain_exhaustion(_LESS):
            if staged:
                model = train_stages(resolved, data, output, resume=resume, **options)
            else:
                model = run(resolved, data, output, init=start, start=start_step, resume=resume, **options)
            if os.environ.get("RANK", "0") == "0":
                print(model)
    except Interrupted:
        if os.environ.get("RANK", "0") == "0":
            again = [*sys.argv[1:], *([] if resume else ["--resume"])]
            print(f"saved; go on with: {printable(shlex.join(['ncsr', *again]))}", file=sys.stderr)
        raise
    except Diverged as report:
        print(f"ncsr: {report}", file=sys.stderr)
        raise typer.Exit(1) from None


def _recipe_of(run: Path | None, resume: bool) -> str:
    """The path of the recipe that a resumed run began with."""
    from ncsr.training.run import RECIPE

    if run is None or not resume:
        raise InputError("RECIPE is missing; see `ncsr train --help`; with --resume and -o RUN it is that of the run")
    if not (run / RECIPE).is_file():
        raise InputError(f"{run} holds no {RECIPE}, which a run has once its last stage has begun: name the RECIPE")
    return str(run / RECIPE)


def _override(change: str) -> tuple[str, Any]:
    """The key and the value of one --set."""
    from ncsr.runtime.parsing import parse_yaml

    key, equals, value = change.partition("=")
    if not equals or not key:
        raise InputError(f"--set takes KEY=VALUE, got {brief(change)}")
    try:
        return key, parse_yaml(value)
    except ValueError as error:
        raise InputError(f"--set {brief(key)}: {brief(value)} is not a YAML value: {error}") from None
