"""Pushing a model folder to the hub."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

from ncsr.errors import InputError
from ncsr.hub.card import CARD, PAGE, Card, hub_page
from ncsr.hub.fetching import LICENCE, calling_the_hub
from ncsr.serialization import CONFIG, WEIGHTS, read_model


def push(
    folder: Path,
    repo: str,
    card: Card,
    *,
    private: bool | None = None,
    token: str | None = None,
    branch: str | None = None,
    create_pr: bool = False,
    commit_message: str | None = None,
) -> str:
    """Push a model folder to the hub in one commit, and return the commit's address.

    Pushed are the model, its card, its licence, and those files beside it that its README.md links to or names in
    backticks; nothing else in the folder. Repository and branch are made if they do not exist.

    Args:
        folder: of the model.
        repo: "owner/name".
        card: becomes `card.json` and the metadata of README.md.
        private: whether a repository that is made is private; None is the owner's default.
        token: None takes that of `hf auth login` or HF_TOKEN.
        branch: to push to; None is `main`.
        create_pr: open a pull request instead of pushing.
        commit_message: None writes one.

    Raises:
        InputError: there is no model in the folder, or the hub refuses it or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    config, _ = read_model(folder)
    try:
        text = (folder / PAGE).read_text(encoding="utf-8") if (folder / PAGE).is_file() else None
    except UnicodeDecodeError:
        raise InputError(f"{folder / PAGE} is not UTF-8, which the hub takes: store it as that") from None
    contents: dict[str, bytes | str] = {
        CARD: (card.model_dump_json(indent=2, exclude_defaults=True) + "\n").encode(),
        PAGE: hub_page(repo, config, card, text).encode(),
    }
    names = {CONFIG, WEIGHTS, LICENCE, *re.findall(r"[`(]([^`()\s]+)[`)]", text or "")}
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name in names:
            contents.setdefault(path.name, str(path))
    api = HfApi(token=token, library_name="ncsr", library_version=version("ncsr"))
    with calling_the_hub(repo, branch):
        api.create_repo(repo, private=private, exist_ok=True)
        if branch is not None:
            api.create_branch(repo, branch=branch, exist_ok=True)
        commit = api.create_commit(
            repo,
            [CommitOperationAdd(name, content) for name, content in contents.items()],
            commit_message=commit_message or "Push a model of ncsr",
            revision=branch,
            create_pr=create_pr,
        )
    return commit.pr_url or commit.commit_url
