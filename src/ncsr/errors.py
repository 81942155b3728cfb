"""Errors that are not bugs of the package, each with a one-sentence message, and helpers to write such messages."""

import reprlib
from collections.abc import Iterator
from contextlib import contextmanager

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 70
_SHORT.maxlevel = 2


class InputError(ValueError):
    """Wrong input: one sentence that says what, what was expected, what came, and the remedy.

    The command line prints it and exits with code 2; it never shows a traceback.
    """


class UnreadableError(InputError):
    """A file that is damaged, or no photograph: reading it again would fail again."""


class SamplingError(RuntimeError):
    """No draw of a sample was finite."""


def brief(value: object) -> str:
    """The `repr` of a value from outside, shortened for messages: one line of at most 100 characters, all printable."""
    text = " ".join(_SHORT.repr(value).split())  # arrays break their lines
    return text if len(text) <= 100 else f"{text[:97]}..."


def printable(text: str) -> str:
    """A text with escapes in place of characters that would move a cursor or change colours, lines or direction."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def needs_extra(extra: str, user: str, *packages: str) -> Iterator[None]:
    """A context for imports of packages that only an extra of ncsr installs.

    Args:
        extra: the extra's name.
        user: the beginning of the message, which says what needs the packages: "plots need matplotlib".
        packages: the names under which they are imported.

    Raises:
        InputError: one of them is not installed; the sentence has the commands that install the extra. Any other
            ImportError is a bug or a broken installation: it passes.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in packages:
            raise
        raise InputError(
            f"{user}: pip install 'ncsr[{extra}]', or in a checkout: pip install -c constraints.txt '.[{extra}]'"
        ) from None
