import atexit
import subprocess
import sys

import pytest

from svdrift.training.processes import leave


@pytest.mark.parametrize("config", ["cpus", "cpus-fsdp2"])
def test_one_of_several_leaves_before_python_dismantles_itself(config, accelerate):
    done = accelerate(config, __file__)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split("\n")) == ["", "0 at exit", "1 at exit", "2 are here"]


def test_a_process_alone_goes_on():
    program = "from svdrift.training.processes import leave; leave(); print('still here')"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "still here\n"


class Dismantled:
    def __init__(self, say):
        self.say = say  # a name of the module may be gone by then

    def __del__(self):
        self.say("dismantled\n")


if __name__ == "__main__":
    from accelerate import PartialState
    from accelerate.utils import gather_object

    state = PartialState(cpu=True)
    found = gather_object([state.process_index])
    if state.is_main_process:
        sys.stdout.write(f"{len(found)} are here\n")  # in one piece, beside the other's
    atexit.register(sys.stdout.write, f"{state.process_index} at exit\n")
    held = Dismantled(sys.stdout.write)
    leave()
    sys.stdout.write("went on\n")
