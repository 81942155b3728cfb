"""The process of a command: `ncsr`, and `python -m ncsr`. Ctrl-C at any moment is a sentence, never a traceback."""

import os
import signal
import sys

_SENTENCE = "ncsr: stopped by Ctrl-C"


def main() -> None:
    """Run the command line, as `ncsr.cli.main`."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where a shell has it ignored
        signal.signal(signal.SIGINT, _stop)
    try:
        from ncsr.cli import main as run

        run()
    except KeyboardInterrupt:  # while modules were imported, or between two moments of the command
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print(_SENTENCE, file=sys.stderr, flush=True)
        os._exit(130)
    finally:
        signal.signal(
            signal.SIGINT, signal.SIG_IGN
        )  # everything has been printed; only the interpreter has to shut down


def _stop(number: int, frame: object) -> None:
    """The first Ctrl-C is Python's exception, so that what is done is kept."""
    signal.signal(signal.SIGINT, _end)
    raise KeyboardInterrupt


def _end(number: int, frame: object) -> None:
    """Another ends the process where it stands, be it in what the exception set off: no file is half-written."""
    os.write(2, f"{_SENTENCE}\n".encode())
    os._exit(130)


if __name__ == "__main__":
    main()
