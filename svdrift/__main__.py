"""`python -m svdrift`, where the command is not on the PATH."""

from svdrift.cli import main

main()
