"""Who runs the workflow in a folder."""

import subprocess
import sys

from svdrift.running import hold, holder

AT_WORK = """
import pathlib, sys
from svdrift.running import hold
file = hold(pathlib.Path(sys.argv[1]))
print("holds", flush=True)
sys.stdin.read()
"""


def test_a_process_is_at_work_until_it_is_killed(tmp_path):
    assert holder(tmp_path) is None
    command = [sys.executable, "-c", AT_WORK, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"holds\n"
        assert f"process {process.pid} on " in holder(tmp_path)
        with hold(tmp_path):  # a second one is let through, and takes nothing over
            assert f"process {process.pid} on " in holder(tmp_path)
        process.kill()
    assert holder(tmp_path) is None
