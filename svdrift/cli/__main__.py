"""`python -m svdrift.cli`, where the command is not installed."""

from svdrift.cli import main

main()
