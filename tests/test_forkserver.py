"""Programs in forks of a server behave as programs of their own."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from svdrift import forkserver

WAIT_S = 120


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that is ready, and the folder of its socket."""
    folder = tmp_path_factory.mktemp("s")
    before = os.environ.get(forkserver.VARIABLE)
    process = forkserver.start(folder)
    until = time.monotonic() + WAIT_S
    while not (folder / "socket").exists():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    yield process
    process.stdin.close()
    assert process.wait(WAIT_S) == 0
    assert not folder.exists()
    if before is None:
        del os.environ[forkserver.VARIABLE]


def client(*command, **options):
    """A process that calls a command as jobs do."""
    call = [sys.executable, "-m", "svdrift.forkserver", "call", *map(str, command)]
    return subprocess.Popen(
        call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def ran(*command, **options):
    """Exit status, output and errors of a command."""
    process = client(*command, **options)
    out, err = process.communicate(timeout=WAIT_S)
    return process.returncode, out, err


def script(folder, text):
    """A program in a file."""
    path = folder / "program.py"
    path.write_text(text)
    return path


ABOUT_ITSELF = """
import os, sys
import neighbour
print(sys.argv[1:], os.getcwd(), os.environ["OWN"], neighbour.__name__, __name__)
print("torch" in sys.modules, os.getppid() == int(os.environ["SERVER"]), file=sys.stderr)
"""


@pytest.mark.parametrize("forked", [True, False])
def test_a_program_gets_what_it_was_called_with(server, tmp_path, forked):
    (tmp_path / "neighbour.py").write_text("")
    program = script(tmp_path, ABOUT_ITSELF)
    variables = os.environ | {"OWN": "mine", "SERVER": str(server.pid)}
    if not forked:
        variables[forkserver.VARIABLE] = str(tmp_path / "nobody")
    status, out, err = ran("python", program, "a b", "--x", cwd=tmp_path, env=variables)
    assert status == 0, err
    assert out == f"['a b', '--x'] {tmp_path} mine neighbour __main__\n"
    assert err == f"{forked} {forked}\n"


@pytest.mark.parametrize(
    ("ending", "status", "said"),
    [
        ("sys.exit(3)", 3, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit('in words')", 1, "in words"),
        ("raise ValueError('odd')", 1, "ValueError: odd"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 128 + 9, ""),
    ],
)
def test_how_it_ends_is_told(server, tmp_path, ending, status, said):
    found, _, err = ran("python", script(tmp_path, f"import sys\n{ending}\n"))
    assert found == status
    assert said in err


def test_what_it_registered_for_its_end_happens(server, tmp_path):
    text = "import atexit\natexit.register(print, 'last words')\nprint('first')\n"
    assert ran("python", script(tmp_path, text))[1] == "first\nlast words\n"


def test_signals_reach_it(server, tmp_path):
    text = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "print('ready', flush=True)\ntime.sleep(60)\n"
    )
    process = client("python", script(tmp_path, text))
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT_S) == 7


def test_it_ends_with_the_one_who_waits_for_it(server, tmp_path):
    text = (
        "import pathlib, signal, sys, time\n"
        f"done = pathlib.Path({str(tmp_path / 'told')!r})\n"
        "signal.signal(signal.SIGTERM, lambda *_: (done.touch(), sys.exit()))\n"
        "print('ready', flush=True)\ntime.sleep(60)\n"
    )
    process = client("python", script(tmp_path, text))
    assert process.stdout.readline() == "ready\n"
    process.kill()
    until = time.monotonic() + 30
    while not (tmp_path / "told").exists():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_threads_and_results_are_those_of_a_program_of_its_own(server, tmp_path):
    text = (
        "import torch\ntorch.manual_seed(0)\n"
        "x = torch.randn(300, 300)\n"
        "print(torch.get_num_threads(), torch.linalg.svd(x).S.sum().item(), (x @ x).sum().item())\n"
    )
    program = script(tmp_path, text)
    for threads in ("1", "2"):
        own = os.environ | {"OMP_NUM_THREADS": threads}
        alone = own | {forkserver.VARIABLE: ""}
        forked, started = (ran("python", program, env=env)[1] for env in (own, alone))
        assert forked == started
        assert forked.startswith(threads)


def test_a_program_that_was_edited_is_run_as_it_is_now(server, tmp_path):
    for word in ("one", "two"):
        (tmp_path / "room.py").write_text(f"word = {word!r}\n")
        program = script(tmp_path, "import room\nprint(room.word)\n")
        variables = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        assert ran("python", program, env=variables)[1] == f"{word}\n"


def test_other_commands_run_by_themselves(server):
    assert ran("bash", "-c", "echo $PPID; exit 4")[0] == 4


def gone(process, seconds=30):
    """Whether a process ends within some seconds."""
    end = time.monotonic() + seconds
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


STARTING = """
import pathlib, sys, time
from svdrift import forkserver
print(forkserver.start(pathlib.Path(sys.argv[1])).pid, flush=True)
sys.stdin.read()
"""


def test_a_server_that_still_imports_ends_with_the_one_who_started_it(tmp_path):
    command = [sys.executable, "-c", STARTING, str(tmp_path / "s")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as parent:
        server = psutil.Process(int(parent.stdout.readline()))
        until = time.monotonic() + WAIT_S
        while "svdrift.forkserver" not in " ".join(server.cmdline()):
            assert time.monotonic() < until
            time.sleep(0.02)
        time.sleep(0.5)
        parent.kill()
    assert gone(server, 5)


def test_a_fork_ends_where_its_server_is_killed(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    command = [sys.executable, "-c", STARTING, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as parent:
        server = psutil.Process(int(parent.stdout.readline()))
        until = time.monotonic() + WAIT_S
        while not (folder / "socket").exists():
            assert time.monotonic() < until
            time.sleep(0.05)
        text = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)\n"
        variables = os.environ | {forkserver.VARIABLE: str(folder / "socket")}
        process = client("python", script(tmp_path, text), env=variables)
        fork = psutil.Process(int(process.stdout.readline()))
        server.kill()
        assert gone(fork, 5)
        assert process.wait(WAIT_S) == 128 + signal.SIGKILL
        parent.kill()
