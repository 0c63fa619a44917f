"""Starts programs of the workflow from a process that has imported the heavy libraries already.

Importing PyTorch and transformers takes a job ten seconds, which for most jobs of a small study is
half of their time. So `snakemake --cores` starts one process that imports them once (`serve`), and
a job's program runs in a fork of it (`call`): in a process of its own, with its own arguments,
folder, variables and output, as if it had been started by itself. Where no such process is ready,
as on a cluster, the program is started by itself.

Only libraries are imported beforehand, never code of the project, which may be edited meanwhile.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

VARIABLE = "SVDRIFT_FORKSERVER"  # path of the socket
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
LIBRARIES = (
    "torch",
    "pandas",
    "pyarrow.parquet",
    "pydantic",
    "safetensors.torch",
    "scipy.stats",
    "accelerate",
    "transformers.models.auto.modeling_auto",
    "transformers.models.llama.modeling_llama",
    "transformers.models.llama.tokenization_llama",
    "transformers.generation.utils",
    "matplotlib.pyplot",
    "trl",
    "datasets",
)
PR_SET_PDEATHSIG = 1  # Linux, prctl(2)
WITHOUT_THREADS = {  # of libraries that would start theirs when they are loaded
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}


# --------------------------------------------------------------------------------------
# For the one who wants a program to run


def call(command: Sequence[str]) -> int:
    """Run a command and return its exit status; as a shell does, 128 + the signal that ended it.

    Signals are passed on to it. A Python script (`python FILE ...`) runs in a fork if a server is
    ready, anything else in a process of its own.
    """
    place = os.environ.get(VARIABLE)
    script = len(command) > 1 and command[0] == "python" and command[1].endswith(".py")
    if place and script:
        with suppress(ConnectionError, FileNotFoundError):
            return _in_a_fork(place, command[1:])
    child = subprocess.Popen(command)
    _pass_on_to(child.pid)
    status = child.wait()
    return status if status >= 0 else 128 - status


def _in_a_fork(place: str, argv: Sequence[str]) -> int:
    request = {"argv": list(argv), "folder": str(Path.cwd()), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(place)
        socket.send_fds(server, [b"\0"], [0, 1, 2])
        answers = server.makefile("rw", encoding="utf-8")
        print(json.dumps(request), file=answers, flush=True)
        started = answers.readline()
        if not started:
            raise ConnectionError(f"{place}: the server has gone")
        _pass_on_to(int(started))
        ended = answers.readline()
    return int(ended) if ended else 128 + signal.SIGKILL  # the server went, and ends the fork


def _pass_on_to(process: int) -> None:
    def pass_on(number: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(process, number)

    for number in PASSED_ON:
        signal.signal(number, pass_on)


# --------------------------------------------------------------------------------------
# The server


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Start a server for all processes that this one starts, which ends with this one.

    Args:
        folder: for the socket, of this server alone, which removes it; readable by this user only,
            and of a short path.
    """
    os.environ[VARIABLE] = str(folder / "socket")
    return subprocess.Popen(
        [sys.executable, "-m", "svdrift.forkserver", os.environ[VARIABLE]],
        stdin=subprocess.PIPE,  # closed when this process ends, however it does
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # an interrupt at the terminal is for those who wait
        env=os.environ | WITHOUT_THREADS,
    )


def serve(place: str) -> None:
    """Import the libraries, then fork for every request, until standard input is closed.

    Raises:
        RuntimeError: a library has started threads, which a fork would not have.
    """
    _end_with_parent(signal.SIGTERM)
    for name in LIBRARIES:
        importlib.import_module(name)
    _end_with_parent(0)  # from here on standard input says so, and all is put in order
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        raise RuntimeError(f"{threads} threads run before any fork")
    gc.collect()
    gc.freeze()  # else each fork copies what its own collections touch
    children: dict[int, Any] = {}  # process -> the connection of the one who waits for it
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    with socket.socket(socket.AF_UNIX) as listening, selectors.DefaultSelector() as events:
        listening.bind(place)  # not before, so that nobody waits for the imports
        listening.listen(64)
        for source in (0, reading, listening):
            events.register(source, selectors.EVENT_READ)
        while True:
            for ready, _ in events.select():
                if ready.fileobj == 0:
                    shutil.rmtree(Path(place).parent)
                    for process in children:
                        os.kill(process, signal.SIGTERM)
                    return
                if ready.fileobj == reading:
                    os.read(reading, 4096)
                    _reap(children, events)
                elif ready.fileobj is listening:
                    _fork(listening, children, events)
                else:  # nothing is ever sent: the one who waits has gone
                    for process, waiting in list(children.items()):
                        if waiting is ready.fileobj:
                            os.kill(process, signal.SIGTERM)
                    events.unregister(ready.fileobj)


def _fork(listening: socket.socket, children: dict[int, Any], events: Any) -> None:
    connection, _ = listening.accept()
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    request = json.loads(connection.makefile(encoding="utf-8").readline())
    process = os.fork()
    if process:
        children[process] = connection
        events.register(connection, selectors.EVENT_READ)
        connection.sendall(f"{process}\n".encode())
        for stream in streams:
            os.close(stream)
        return
    status = 1
    try:
        _end_with_parent(signal.SIGTERM)  # should the server be killed
        for number in (*PASSED_ON, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.set_wakeup_fd(-1)
        events.close()
        listening.close()
        for other in [connection, *children.values()]:
            other.close()
        for standard, stream in enumerate(streams):
            os.dup2(stream, standard)
            os.close(stream)
        status = _run(request)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _end_with_parent(number: int) -> None:
    """Let the end of the parent process send this one a signal, or none (0)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def _run(request: dict[str, Any]) -> int:
    """Become the program: all that `python FILE ARGUMENTS` does, and its exit status."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = request["argv"]
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)  # it was the server's folder
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    if "OMP_NUM_THREADS" in os.environ:  # read when PyTorch is loaded, which was long ago
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    status = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def _reap(children: dict[int, Any], events: Any) -> None:
    """Tell those who wait how their programs ended."""
    while children:
        process, how = os.waitpid(-1, os.WNOHANG)
        if not process:
            return
        connection = children.pop(process)
        status = os.waitstatus_to_exitcode(how)
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(f"{status if status >= 0 else 128 - status}\n".encode())
        with suppress(KeyError):
            events.unregister(connection)
        connection.close()


if __name__ == "__main__":
    if sys.argv[1] == "call":
        sys.exit(call(sys.argv[2:]))
    serve(sys.argv[1])
