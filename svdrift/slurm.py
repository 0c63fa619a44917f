"""What Slurm says of the jobs that a Snakemake has submitted."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from svdrift.errors import UserError


def run_ids(logs: Iterable[Path]) -> list[str]:
    """Names that runs gave their Slurm jobs, from Snakemake's logs."""
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in logs if file.is_file())
    found = (re.search(r"^SLURM run ID: (\S+)$", text, re.MULTILINE) for text in texts)
    return [match[1] for match in found if match]


def jobs_of(names: Iterable[str]) -> list[str]:
    """Ids of the Slurm jobs of these names that are queued, running or ending."""
    wanted = ",".join(names)
    return ask("squeue", "--noheader", "--format=%i", f"--name={wanted}").split() if wanted else []


def ask(*command: str) -> str:
    """What one of Slurm's programs prints.

    Raises:
        UserError: the program is missing, does not answer or fails, with what it says.
    """
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except FileNotFoundError:
        raise UserError(f"{command[0]}: not found; resume where Slurm's programs are") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"{command[0]}: Slurm does not answer; try again later") from None
    if answer.returncode:
        raise UserError(f"{command[0]}: {answer.stderr.strip()}")
    return answer.stdout
