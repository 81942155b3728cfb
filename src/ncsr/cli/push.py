"""`ncsr push`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ncsr.cli.completion import model_names
from ncsr.errors import InputError


def push(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Model folder or bundled name.", autocompletion=model_names)
    ],
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository on the hub; it is made if need be.")],
    licence: Annotated[
        str | None,
        typer.Option(help="SPDX identifier of the weights' licence.", show_default="that of MODEL's card.json"),
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="The model on the hub that it was fine-tuned from.")
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(metavar="OWNER/NAME", help="Data set that it was trained on; may be given several times."),
    ] = None,
    private: Annotated[
        bool | None, typer.Option("--private/--public", help="Who sees it, if it is made.", show_default="the owner's")
    ] = None,
    branch: Annotated[
        str | None, typer.Option(help="Branch to push to; it is made if need be.", show_default="main")
    ] = None,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Ask by a pull request.")] = False,
    message: Annotated[
        str | None, typer.Option("-m", "--message", help="Of the commit.", show_default="one that is written")
    ] = None,
) -> None:
    """Push a model to the Hugging Face hub: weights, card, licence, and the files beside it that its README.md names.

    Sign in before, with `hf auth login` or HF_TOKEN. What was pushed opens as -m OWNER/NAME.
    """
    from ncsr.hub.card import Card, read_card
    from ncsr.hub.fetching import parse_id
    from ncsr.hub.pushing import push as push_folder
    from ncsr.pretrained.load import find_model

    if "@" in repo or parse_id(repo) is None:
        raise InputError(f"the repository must be OWNER/NAME, got {repo!r}; --branch names a branch")
    folder = find_model(model)
    if not folder.is_dir():
        raise InputError(f"{model} is a file: push the folder of the model")
    given = {"licence": licence, "base_model": base_model, "datasets": tuple(dataset or ())}
    card = (read_card(folder) or Card()).model_copy(update={key: value for key, value in given.items() if value})
    print(push_folder(folder, repo, card, private=private, branch=branch, create_pr=create_pr, commit_message=message))
    if card.licence is None:
        print(
            "ncsr: the card names no licence, without which nobody may use the model: push again with --licence",
            file=sys.stderr,
        )
