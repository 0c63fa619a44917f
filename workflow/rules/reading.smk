"""Reads the files of settings once more than Snakemake does, which names neither file nor line of a
mistake, and of a key that is given twice takes the last one."""

import sys
from pathlib import Path

from svdrift.errors import UserError
from svdrift.study.overlays import DEFAULT, read_yaml

try:
    for file in [DEFAULT, *map(Path, workflow.overwrite_configfiles)]:
        read_yaml(file)
except UserError as error:
    sys.exit(f"error: {error}")
