#!/bin/sh
# The inner process of a job: runs as the job's user, waits at the gate, runs the command, records how it ended.
#
#   inner.sh DIR
#
# It is the command's parent and survives the signals that stop it, so that the code is recorded even when the
# supervisor is dead (u/rc). What it writes is the user's own and proves nothing to the agent but this job's code.
# Every variable has a prefix: a name that the user's profile exports would otherwise reach the command changed.

sluice_tool() {
  PATH=/usr/bin:/bin "$@"
}

sluice_fail() {
  printf '%s\n' "$1" >"$sluice_dir/u/fail"
  exit 126
}

# Replaces this (sub)shell by the command. The job's environment is applied here, after all privileges are gone.
sluice_run() {
  sluice_shell= sluice_workdir=
  . "$sluice_dir/in/env"
  eval "$sluice_secrets"
  if [ -n "$sluice_workdir" ]; then
    cd -- "$sluice_workdir" 2>/dev/null || sluice_fail "cannot enter the working directory $sluice_workdir"
  fi
  [ -x "$sluice_shell" ] || sluice_fail "cannot execute the shell $sluice_shell"
  exec "$sluice_shell" "$sluice_dir/in/cmd"
}

sluice_main() {
  sluice_dir=$1
  trap : HUP INT QUIT TERM USR1 USR2 ALRM
  sluice_pane=
  if [ -e "$sluice_dir/in/pane" ]; then
    sluice_pane=yes
    . "${0%/*}/pane.sh"
    sluice_enter_pane
  fi
  # Room for what is told at the end, which is written over it in place: by then the disk may be full.
  { printf '\n\n\n\n' >"$sluice_dir/u/rc" && printf '%255s\n' '' >"$sluice_dir/u/note"; } || exit 75
  exec 8<>"$sluice_dir/u/rc" 9<>"$sluice_dir/u/note"
  echo $$ >&5
  exec 5>&-
  # End of file means that the supervisor is gone: then nothing may begin.
  IFS= read -r sluice_word <&3 && [ "$sluice_word" = go ] || exit 125
  sluice_secrets=
  if [ -e "$sluice_dir/in/secrets" ]; then
    sluice_secrets=$(sluice_tool cat <&3)
    [ "${sluice_secrets##*#}" = end ] || sluice_fail 'the secret environment did not arrive'
  fi
  exec 3<&-
  # sh says that a signal ended its child only in words, on its own stderr: `exit 137` leaves u/note empty.
  exec 4>&2 2>&9 9>&-
  [ -z "$sluice_pane" ] || sluice_begin_pane
  (
    if [ -n "$sluice_pane" ]; then
      exec >"$sluice_dir/u/out" 2>"$sluice_dir/u/err" 4>&- 6>&- 8>&-
    else
      exec 2>&4 4>&- 8>&- </dev/null
    fi
    sluice_run
  )
  sluice_code=$?
  exec 2>/dev/null
  [ -z "$sluice_pane" ] || sluice_drain_pane
  # In one write: a program that renamed it would be one more process of the tree that a cancel is killing.
  echo "$sluice_code" >&8
  # For both directions: a FIFO that the command put there would otherwise be waited for.
  true 1<>"$sluice_dir/u/over"
  exit "$sluice_code"
}

sluice_main "$@"
