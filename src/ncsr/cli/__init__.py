"""The command line. Wrong input is one sentence and exit code 2, never a traceback.

The modules of the commands import PyTorch, and what imports it, inside the commands: `ncsr --help` stays quick.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from typing import Annotated

import typer

from ncsr.cli.app import app as app_
from ncsr.cli.bench import bench
from ncsr.cli.convert import convert
from ncsr.cli.evaluate import evaluate
from ncsr.cli.export import export
from ncsr.cli.info import info
from ncsr.cli.measure import measure
from ncsr.cli.options import check_arguments, with_address
from ncsr.cli.plan import plan
from ncsr.cli.prepare import prepare
from ncsr.cli.push import push
from ncsr.cli.remake import remake
from ncsr.cli.reproduce import reproduce
from ncsr.cli.streams import watch_streams
from ncsr.cli.train import train
from ncsr.cli.upscale import upscale
from ncsr.cli.usage import ParserError, usage_sentence
from ncsr.errors import InputError, printable
from ncsr.runtime.memory import explain_exhaustion, prepare_for_limits

app = typer.Typer(
    help="One photograph in, many plausible high-resolution photographs out.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(version("ncsr"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """The options of `ncsr` itself."""
    if not {"-h", "--help"} & {*sys.argv}:
        prepare_for_limits()


for command in (
    upscale,
    plan,
    remake,
    train,
    prepare,
    evaluate,
    measure,
    reproduce,
    convert,
    export,
    push,
    info,
    bench,
    app_,
):
    app.command()(command)


def main() -> None:
    """Run the command line; wrong input and want of memory end with exit code 2, Ctrl-C with 130."""
    watch_streams()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # warnings of libraries are for programmers; python -W brings them back
    _leave(_run())


def _run() -> int:
    """Run the command; returns its exit code."""
    code: object = 0
    arguments = sys.argv[1:]
    try:
        try:
            check_arguments(arguments)
            with explain_exhaustion():
                code = app(with_address(arguments) or ["--help"], prog_name="ncsr", standalone_mode=False)
            code = code if arguments else 2  # nothing was done
            if code == 130:  # typer exits so after Ctrl-C; `ncsr train` prints its own message
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                print("ncsr: stopped by Ctrl-C", file=sys.stderr)
        except SystemExit as end:
            code = end.code
        except ParserError as error:
            raise InputError(usage_sentence(error, arguments)) from None
        sys.stdout.flush()
    except (InputError, MemoryError) as error:
        print(f"ncsr: {printable(str(error))}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader closed the pipe
        return 1
    except OSError as error:  # of a path that was not checked before: too long a name, an unreadable folder
        what = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        print(f"ncsr: {printable(what)}{error.strerror or error}", file=sys.stderr)
        return 2
    return code if isinstance(code, int) else 0


def _leave(code: int) -> None:
    """End the process with this exit code; if it is in a torch.distributed process group, without Python's shutdown.

    The threads of such a group, which training leaves behind, may ask for Python's lock during the shutdown, which
    aborts the process or hangs it.
    """
    dist = sys.modules.get("torch.distributed")  # a command that did not import it has no process group
    if dist is not None and dist.is_available() and dist.is_initialized():
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
