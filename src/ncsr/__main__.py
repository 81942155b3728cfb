"""`python -m ncsr` is `ncsr`."""

from ncsr.cli import main

main()
