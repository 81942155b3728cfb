"""The one exception for wrong input."""


class InputError(ValueError):
    """Wrong input: one sentence that says what, what was expected, what came, and the remedy.

    The command line prints it and exits with code 2; it never shows a traceback.
    """


class SamplingError(RuntimeError):
    """A sample was not finite in every draw."""
