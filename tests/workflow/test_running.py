"""Snakemake looks through its waiting jobs when one ends, and not all the time in between."""

import subprocess
import sys

import pytest

from tests.workflow.clones import ROOT

pytestmark = pytest.mark.workflow

JOBS = 12
SNAKEFILE = f"""
from snakemake.scheduling.job_scheduler import JobScheduler

looks, select = [], JobScheduler.job_selector


def counted(*arguments):
    looks.append(1)
    return select(*arguments)


JobScheduler.job_selector = counted
{{include}}

rule all:
    default_target: True
    input: expand("{{{{number}}}}.txt", number=range({JOBS}))

rule one:
    output: "{{{{number}}}}.txt"
    shell: "sleep 0.5; touch {{{{output}}}}"

onsuccess:
    print(f"looks: {{{{len(looks)}}}}")
"""


@pytest.mark.parametrize("ours", [True, False])
def test_a_look_for_every_job(tmp_path, ours):
    include = f'include: "{ROOT / "workflow/rules/running.smk"}"' if ours else ""
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(include=include))
    command = [sys.executable, "-m", "snakemake", "--cores", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    looks = int(done.stdout.split("looks: ")[1])
    # Without it, the loops add up; should this fail, the rule file is no longer needed.
    assert (looks <= 2 * JOBS) == ours, looks
