"""The process of a command: `ncsr`, and `python -m ncsr`. Ctrl-C at any moment is a sentence, never a traceback."""

import os
import signal
import sys


def main() -> None:
    """Run the command line, as `ncsr.cli.main`."""
    try:
        from ncsr.cli import main as run

        run()
    except KeyboardInterrupt:  # while modules were imported, or between two moments of the command
        print("ncsr: stopped by Ctrl-C", file=sys.stderr, flush=True)
        os._exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is told; only the interpreter has to end


if __name__ == "__main__":
    main()
