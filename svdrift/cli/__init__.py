"""The command `svdrift`: each module here is one of its commands, and works with the library alone.

A command module has a docstring (its help), `arguments(parser)` and `main(args)`, which returns the
exit code. Only the module of the command that is run is imported, so that each starts quickly, and
works without the libraries of the others. The help imports nothing but Python's own library.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys

import svdrift

COMMANDS = {
    "compare": "which layers and kinds of module turned between two checkpoints",
    "recover": "a repaired model: a checkpoint with singular directions of another one",
    "evaluate": "the loss of a text, or the accuracy on a task, of models side by side",
    "check": "is a model folder complete, finite and trained?",
    "stages": "the stages of a study as a tree, what they cost and what is done",
    "status": "what of a study is done, what would run and why",
}
WORKFLOW = "workflow"  # the extra with what studies need
EXTRA = {"datasets", "docutils", "peft", "pyarrow", "snakemake", "trl"}  # its modules
PROBLEM = 1  # the exit code of a command that found one
UNEXPECTED = 70  # EX_SOFTWARE of sysexits.h
CLOSED = 141  # 128 + SIGPIPE, as a shell reports it
EXIT_CODES = """\
exit codes:
    0  done, and nothing is wrong
    1  done, and a problem was found in a model; the output says which
    2  an argument or a file is wrong; one line on stderr says which
   70  an error in svdrift itself; a traceback on stderr says where
  130  interrupted
  141  nobody reads the output any more, as after `| head`
"""


def main() -> None:
    """Entry point: mistakes of the user end it with one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what a terminal cannot show ends no command
    try:
        try:
            _run(_chosen())
        finally:
            sys.stdout.flush()  # here, where a closed pipe can be caught
    except BrokenPipeError:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BrokenPipeError:  # what is left in it goes nowhere
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise SystemExit(CLOSED) from None
    except Exception as error:  # a code of its own: 1 says that a model has a problem
        if missing := _missing_library(error):
            print("error:", missing, file=sys.stderr)
            raise SystemExit(2) from None
        sys.excepthook(type(error), error, error.__traceback__)
        raise SystemExit(UNEXPECTED) from None


def _missing_library(error: Exception) -> str:
    """One line for a library that is not installed; empty for other errors."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return ""
    name = error.name.partition(".")[0]
    if name == svdrift.__name__:
        return ""
    remedy = f": pip install 'svdrift[{WORKFLOW}]'" if name in EXTRA else ""
    return f"this command needs {name}, which is not installed{remedy}"


def _chosen() -> argparse.Namespace:
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:{width}}  {says}" for name, says in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="svdrift",
        description="Ask about checkpoints and studies.",
        epilog=f"commands:\n{listed}\n\nOptions of each: `svdrift COMMAND --help`.\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"svdrift {svdrift.__version__}")
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help="see below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser.parse_args(sys.argv[1:] or ["--help"])


def _run(chosen: argparse.Namespace) -> None:
    """Run the chosen command, whose mistakes of the user become one line."""
    # SciPy's LAPACK reads it when it is loaded. PyTorch has threads of its own (--threads).
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from svdrift.cli.memory import return_freed_memory
    from svdrift.scripting import run

    def command() -> None:
        module = importlib.import_module(f"svdrift.cli.{chosen.command}")
        own = argparse.ArgumentParser(
            prog=f"svdrift {chosen.command}",
            description=module.__doc__,
            epilog=EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.arguments(own)
        return_freed_memory()
        raise SystemExit(module.main(own.parse_args(chosen.arguments)))

    run(command)
