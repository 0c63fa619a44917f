"""A real Slurm on this machine, for tests: one node, on loopback, with two GPUs that only count.

As root on Debian:
    python3 -m tests.slurm.cluster install        # the packages, if they are missing
    python3 -m tests.slurm.cluster start FOLDER   # then: source FOLDER/environment
    python3 -m tests.slurm.cluster stop FOLDER
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge", "slurm-wlm-basic-plugins")
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")
NOT_INSTALLED = "Slurm is not installed (on Debian `make slurm` does it)"

SLURM_CONF = """\
ClusterName=svdrift
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=36817
SlurmdPort=36818
SrunPortRange=36900-36999
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/run/munge.sock
CredType=cred/munge
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/run/slurmctld.pid
SlurmdPidFile={root}/run/slurmd.pid
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=256
GresTypes=gpu
MinJobAge=3600
KillWait=20
MessageTimeout=30
InactiveLimit=0
JobCompType=jobcomp/filetxt
JobCompLoc={root}/log/jobcomp.txt
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 CPUs=8 Boards=1 SocketsPerBoard=1 \
CoresPerSocket=8 ThreadsPerCore=1 RealMemory=32000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=node1 Default=YES DefaultTime=00:10:00 MaxTime=12:00:00 State=UP
PartitionName=gpu Nodes=node1 DefaultTime=00:10:00 MaxTime=12:00:00 State=UP
"""
GRES_CONF = """\
AutoDetect=off
NodeName=node1 Name=gpu File={root}/gpu/nvidia[0-1]
"""


class Cluster:
    """The Slurm that lives in a folder.

    Attributes:
        root: its folder: configuration, state, logs (`log/jobcomp.txt` lists finished jobs).
        environment: variables with which Slurm's programs find it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.environment = {
            "SLURM_CONF": f"{self.root}/etc/slurm.conf",
            "PATH": f"{self.root}/bin:{os.environ['PATH']}:/usr/sbin",
        }

    def start(self) -> None:
        """Write the configuration, start the three daemons and wait."""
        for name in ("bin", "etc", "gpu", "log", "run", "spool", "state"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        places = {"root": self.root, "host": socket.gethostname().split(".")[0]}
        self._write("etc/slurm.conf", SLURM_CONF.format(**places))
        self._write("etc/gres.conf", GRES_CONF.format(**places))
        self._write("etc/cgroup.conf", "CgroupAutomount=no\n")
        variables = "".join(f"export {key}='{value}'\n" for key, value in self.environment.items())
        self._write("environment", variables)
        # The executor's jobs start their step without SLURM_CONF.
        step = f'#!/bin/sh\nexport SLURM_CONF={self.environment["SLURM_CONF"]}\nexec {{}} "$@"\n'
        self._write("bin/srun", step.format(shutil.which("srun")), mode=0o755)
        for number in range(2):
            device = self.root / f"gpu/nvidia{number}"
            if not device.exists():  # a null device: Slurm counts it, nobody computes on it
                os.mknod(device, 0o600 | 0o020000, os.makedev(1, 3))
        key = self.root / "etc/munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self._daemon(
            "munged",
            "--force",
            f"--key-file={key}",
            f"--socket={self.root}/run/munge.sock",
            f"--pid-file={self.root}/run/munged.pid",
            f"--log-file={self.root}/log/munged.log",
            f"--seed-file={self.root}/etc/munge.seed",
            "--num-threads=2",
        )
        self.start_controller()
        self._daemon("slurmd")
        self.wait_until_it_answers()

    def stop(self) -> None:
        """Cancel all jobs and end the daemons."""
        with suppress(subprocess.SubprocessError):
            self.run("scancel", "--full", "--user=root")
            self._wait(lambda: not self.run("squeue", "--noheader").stdout.strip(), 30)
        for name in ("slurmd", "slurmctld", "munged"):
            self._end(name)

    def start_controller(self) -> None:
        """Start slurmctld; it goes on from its saved state."""
        self._daemon("slurmctld")

    def kill_controller(self) -> None:
        """Kill slurmctld without giving it a chance to save anything."""
        self._end("slurmctld", signal.SIGKILL)

    def wait_until_it_answers(self) -> None:
        """Wait until a job has run.

        Raises: RuntimeError after 30 seconds, with the end of slurmctld's log.
        """
        if not self._wait(lambda: self.run("srun", "-n1", "true").returncode == 0, 30):
            log = (self.root / "log/slurmctld.log").read_text()
            raise RuntimeError(f"Slurm does not run jobs:\n{log[-3000:]}")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one of Slurm's programs, for 20 seconds at most: without slurmctld they hang."""
        return subprocess.run(
            ["timeout", "20", *command],
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def finished(self) -> list[dict[str, str]]:
        """What slurmctld noted of each finished job (jobcomp), by its own keys."""
        file = self.root / "log/jobcomp.txt"
        lines = file.read_text().splitlines() if file.exists() else []
        return [dict(part.split("=", 1) for part in line.split() if "=" in part) for line in lines]

    def jobs(self) -> list[dict[str, str]]:
        """All jobs that slurmctld knows, finished ones too, as `scontrol show job` has them."""
        shown = self.run("scontrol", "--oneliner", "show", "job").stdout
        return [
            dict(part.split("=", 1) for part in line.split() if "=" in part)
            for line in shown.splitlines()
            if line.startswith("JobId=")
        ]

    def _daemon(self, *command: str) -> None:
        environment = os.environ | self.environment
        subprocess.run(command, env=environment, check=True, timeout=30)

    def _end(self, name: str, number: int = signal.SIGTERM) -> None:
        try:
            process = int((self.root / f"run/{name}.pid").read_text())
            os.kill(process, number)
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return
        self._wait(lambda: not _lives(process), 20)

    def _write(self, name: str, text: str, mode: int = 0o644) -> None:
        file = self.root / name
        file.write_text(text)
        file.chmod(mode)

    @staticmethod
    def _wait(condition, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not (done := condition()) and time.monotonic() < end:
            time.sleep(0.2)
        return done


def missing() -> str | None:
    """Why this machine cannot run it, if it cannot."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    if os.geteuid() != 0:
        return "a Slurm for tests needs root"
    if not all(shutil.which(program, path=path) for program in PROGRAMS):
        return NOT_INSTALLED
    return None


def install() -> None:
    """Install Debian's packages."""
    # RUNLEVEL=1: the packages shall not start daemons of their own.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    install = ["install", "-qy", "--no-install-recommends", *PACKAGES]
    for arguments in (["update", "-q"], install):
        subprocess.run(["apt-get", *arguments], env=environment, check=True, stdout=sys.stderr)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("install")
    for name in ("start", "stop"):
        actions.add_parser(name).add_argument("folder", type=Path)
    args = parser.parse_args()
    reason = missing()
    if reason == NOT_INSTALLED and args.action == "install":
        install()
    elif reason:
        sys.exit(f"error: {reason}")
    elif args.action != "install":
        getattr(Cluster(args.folder), args.action)()


if __name__ == "__main__":
    main()
