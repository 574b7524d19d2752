# Starts a job in a tmux server of its own, as its user, and waits for it. Sourced by supervisor.sh.
#
# One server per job: a crash hits one job, no environment is shared, and an operator who attaches has that user's
# rights and no more. The exit code comes from the inner process's file, never from tmux, which can lose it.
# The server is a daemon: it must not inherit a descriptor whose end this supervisor waits for.

start_in_tmux() {
  exec 7<&0 </dev/null
  echo 0 >"$dir/keeper"
  mkfifo -m 600 "$dir/in/hold"
  chown "$uid" "$dir/in/gate" "$dir/in/hold"
  # Opened for both directions a FIFO blocks nobody; 8 is closed once the inner process is the only writer.
  exec 4<>"$dir/in/gate" 8<>"$dir/in/hold" 6<"$dir/in/hold"
  started=$(new_session 2>>"$dir/err.log" 4>&- 6<&- 7<&- 8>&- | tail -n 1)
  pane=${started##* }
  keeper=
  if is_users "$pane" && is_users "${started%% *}"; then
    identify "${started%% *}" >"$dir/server"
    pass_gate_of_pane
    pane_start=$(starttime "$pane")
    exec 4>&- 7<&-
    until [ -e "$dir/u/begun" ] || ! is_alive "$pane" "$pane_start" "$boot"; do sleep 0.02; done
    exec 8>&-
    if [ "$timeout" -gt 0 ]; then
      /bin/sh "$0" expire "$dir" 6<&- &
      keeper=$!
    fi
    # End of file: the inner process is gone, however that came about.
    read -r _ <&6
  fi
  claim exit
  [ -n "$keeper" ] && [ "$(cat "$dir/reason")" != timeout ] && kill -s KILL "$keeper" $(descendants "$keeper") 2>/dev/null
  finish ''
}

# In a subshell, since passing the gate may end in `exit`.
pass_gate_of_pane() {
  (pass_gate "$pane")
}

new_session() {
  open_session "exec '$tmux' -f /dev/null -S '$socket' new-session -d -P -F '#{pid} #{pane_pid}' -s job -x 200 -y 50 /bin/sh '$inner' '$dir'"
}

is_users() {
  case $1 in '' | *[!0-9]*) return 1 ;; esac
  [ "$1" -gt 1 ] && [ "$(stat -c %u "/proc/$1" 2>/dev/null)" = "$uid" ]
}

# An operator's own windows in the job's server go with it when the job is stopped.
kill_server() {
  read -r pid begun boot_then 2>/dev/null <"$dir/server" || return
  is_alive "$pid" "$begun" "$boot_then" && kill -s KILL "$pid" 2>/dev/null
}
