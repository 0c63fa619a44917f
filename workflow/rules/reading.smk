"""Reads the files of settings once more than Snakemake does, which names neither file nor line of a
mistake, and of a key that is given twice takes the last one."""

import sys
from pathlib import Path

from snakemake.utils import update_config

from svdrift.errors import UserError
from svdrift.study.overlays import DEFAULT, as_yaml, read_yaml

try:
    for file in [DEFAULT, *map(Path, workflow.overwrite_configfiles)]:
        read_yaml(file)
except UserError as error:
    sys.exit(f"error: {error}")
# What `--config` gives is laid over each file once more.
update_config(workflow.config_settings.overwrite_config, as_yaml(workflow.config_settings.config))
