#!/usr/bin/env bash
# Runs a job's command; what it prints goes to the rule's log too, with what ended it.
# usage: logged.sh LOG ATTEMPT MEGABYTES MINUTES COMMAND...
set -uo pipefail
log=$1 attempt=$2 megabytes=$3 minutes=$4
shift 4

trap : TERM INT HUP # the command gets these signals itself; its last words are waited for
{
  trap : TERM INT HUP # anew, for in a subshell it is forgotten
  if ((attempt > 1)); then
    echo "attempt $attempt, with $megabytes MB of memory and $minutes minutes"
  fi
  if test -n "${SVDRIFT_WITHIN:-}"; then # (slurm/site.yaml) a program and its options
    unset SVDRIFT_FORKSERVER             # which would run programs outside of it
    # shellcheck disable=SC2086
    $SVDRIFT_WITHIN "$@"
  elif test -n "${SVDRIFT_FORKSERVER:-}"; then
    python -m svdrift.forkserver call "$@"
  else
    "$@"
  fi
  status=$?
  if ((status > 128)); then
    echo "error: ended by signal $((status - 128)) ($(kill -l $((status - 128)))) on attempt $attempt," \
      "with $megabytes MB of memory and $minutes minutes; KILL most often means too little memory"
  fi
  exit $status
} 2>&1 | (trap '' TERM INT HUP && exec tee "$log")
