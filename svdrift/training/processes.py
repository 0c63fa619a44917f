"""How the processes of a training part."""

from __future__ import annotations

import atexit
import os
import sys

from accelerate import PartialState


def leave() -> None:
    """End this process as a success, if it is one of several: the last thing that a program does.

    Python does not dismantle itself then. While it does, it kills threads that ask for its lock,
    and one of gloo's may just be letting go of the last tensor that it sent: the process would
    abort, and a job whose work is done would fail. Destroying the group is not enough, since caches
    of PyTorch hold the group of a sharded model, and with it gloo's threads, until the end.
    """
    state = PartialState()
    if state.num_processes == 1:
        return
    state.destroy_process_group()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
