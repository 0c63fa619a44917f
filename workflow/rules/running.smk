"""What the process that runs the workflow does for itself."""

import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from snakemake.exceptions import LockException
from snakemake.logging import logger
from snakemake.persistence.file import FilePersistence
from snakemake_interface_executor_plugins.settings import ExecMode

from svdrift import forkserver, running
from svdrift.errors import UserError

HELD = []  # open as long as this process lives

running.spin_briefly()


def noted(lock):
    """Snakemake's lock, which first releases those of the dead and says who holds it."""

    @contextmanager
    def lock_and_note(self):
        of = self.dag.workflow
        logs = of.logger_manager.get_logfile()
        executor = running.LOCAL if of.local_exec else of.executor_plugin.name
        try:
            running.release(self.path, logger.warning)
            with running.noted(
                self.path, executor=executor, log=logs[0] if logs else ""
            ) as self.run:
                with lock(self):
                    self.run.note(locks=self._lockfile.values())
                    yield
        except UserError as error:
            sys.exit(f"error: {error}")
        except LockException:
            if (said := running.at_work(self.path)) is None:
                raise
            sys.exit(f"error: {said}")

    return lock_and_note


def forgetting(cleanup):
    """What `snakemake --unlock` does, and with the locks the notes go."""

    def clean_up_and_forget(self):
        cleanup(self)
        running.forget(self.path)

    return clean_up_and_forget


if workflow.exec_mode == ExecMode.DEFAULT and not hasattr(FilePersistence, "run"):
    FilePersistence.run = None
    FilePersistence.lock = noted(FilePersistence.lock)
    FilePersistence.cleanup_locks = forgetting(FilePersistence.cleanup_locks)
    running.interrupt_on_hangup()


onstart:
    # To keep to --max-jobs-per-timespan, Snakemake 9.27 looks through all waiting jobs again one
    # second after each look, and once more for each job that ends: a loop for every job so far,
    # which in a study of hundreds of jobs took most of a core. Jobs on one machine have no such
    # limit: cores bound them.
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None
        # Of fewer jobs the imports that it saves are not worth its own.
        if sum(not job.is_norun for job in workflow.dag.needrun_jobs()) >= 8:
            folder = Path(tempfile.mkdtemp(prefix="svdrift-"))
            if workflow.persistence.run is not None:  # it is with --nolock
                workflow.persistence.run.note(scratch=folder)
            HELD.append(forkserver.start(folder))
