"""Fetching models from the hub into huggingface_hub's cache; each error becomes one sentence."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from ncsr.errors import InputError
from ncsr.hub.card import CARD, PAGE
from ncsr.runtime.memory import is_exhaustion
from ncsr.serialization import CONFIG, WEIGHTS

LICENCE = "LICENSE"
_ID = re.compile(r"([\w.-]+/[\w.-]+)(?:@(.+))?")  # no id has an @ in it
_SIGN_IN = "sign in with `hf auth login` or HF_TOKEN"


def parse_id(name: str) -> tuple[str, str | None] | None:
    """Repository and revision of "owner/name" or "owner/name@revision"; None if it is neither."""
    found = _ID.fullmatch(name)
    return found and (found[1], found[2])


def fetch(repo: str, revision: str | None = None) -> Path:
    """Fetch a model from the hub, and return its folder in the cache; without a network, one fetched before.

    huggingface_hub's environment variables set the cache (HF_HOME), the token (HF_TOKEN) and the server (HF_ENDPOINT).

    Args:
        repo: "owner/name".
        revision: a branch, a tag or a commit; None is the branch `main`.

    Raises:
        InputError: there is no such model, no permission to read it, or the connection failed.
    """
    from huggingface_hub import snapshot_download

    with calling_the_hub(repo, revision):
        folder = snapshot_download(
            repo,
            revision=revision,
            allow_patterns=[CONFIG, WEIGHTS, CARD, PAGE, LICENCE],
            library_name="ncsr",
            library_version=version("ncsr"),
        )
    if not (Path(folder) / WEIGHTS).is_file():
        at = f" at {revision}" if revision else ""
        raise InputError(f"{repo} on the hub is not a model of this package: it has no {WEIGHTS}{at}; name another")
    return Path(folder)


@contextmanager
def calling_the_hub(repo: str, revision: str | None) -> Iterator[None]:
    """Turn errors of huggingface_hub in the body into an `InputError` that says what to do.

    Its progress bars are shown only on terminals.
    """
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    silenced = not sys.stderr.isatty() and not are_progress_bars_disabled()
    if silenced:
        disable_progress_bars()
    try:
        yield
    except Exception as error:  # versions of huggingface_hub use different network libraries, with errors of their own
        if is_exhaustion(error):
            raise
        raise InputError(_sentence(error, repo, revision)) from error
    finally:
        if silenced:
            enable_progress_bars()


def _sentence(error: Exception, repo: str, revision: str | None) -> str:
    """What went wrong, and what to do."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    hub, wanted = HfApi().endpoint, f"{repo}@{revision}" if revision else repo
    if isinstance(error.__cause__, HfHubHTTPError):
        error = error.__cause__
    if isinstance(error, LocalEntryNotFoundError):  # of older versions an HfHubHTTPError without a response
        if constants.HF_HUB_OFFLINE:
            return f"{wanted} is not, or not whole, in the cache, and HF_HUB_OFFLINE is set: fetch it once without that"
        reason = _reason(error.__cause__ or error)
        return f"{wanted} is not in the cache, and {hub} cannot be reached ({reason}): connect, and try again"
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, GatedRepoError):
        return f"{repo} is gated: ask for access on {hub}/{repo}, and {_SIGN_IN}"
    if isinstance(error, RepositoryNotFoundError) and status == 404:
        return f"the hub has no repository {repo}, or none that you may see: correct the name, or ask its owner"
    if isinstance(error, RevisionNotFoundError):
        return f"{repo} has no revision {revision}: give a branch, a tag or a commit of {hub}/{repo}/tree/main"
    if isinstance(error, RepositoryNotFoundError):
        return f"the hub shows no {repo} to a stranger: correct the name or, if it is private, {_SIGN_IN}"
    if status == 401:
        return f"the hub wants a valid token for {repo}: {_SIGN_IN}"
    if status == 403:
        return f"your token may not do this with {repo}: take one that may, of {hub}/settings/tokens, and {_SIGN_IN}"
    if isinstance(error, HfHubHTTPError):
        return f"the hub answered {status} about {wanted}: {_reason(error)}; try again later"
    if isinstance(error, HFValidationError):
        return f"{repo} is no name that the hub has: {_reason(error)}"
    return f"what goes between here and the hub for {wanted} broke off: {_reason(error)}; try again"


def _reason(error: BaseException) -> str:
    """The reason of an error in one line: the server's message, the system's (of a wrapped error), or its own."""
    within: list[BaseException] = [error]
    while (deeper := within[-1].__cause__ or within[-1].__context__) is not None and deeper not in within:
        within.append(deeper)
    of_system = next((each.strerror for each in within if isinstance(each, OSError) and each.strerror), None)
    text = getattr(error, "server_message", None) or of_system or error
    return " ".join(str(text).split())[:200] or type(error).__name__
