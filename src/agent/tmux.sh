# Starts a job in a tmux server of its own, as its user, and waits for it. Sourced by supervisor.sh.
#
# One server per job: a crash hits one job, no environment is shared, and an operator who attaches has that user's
# rights and no more. The exit code comes from the inner process's file, never from tmux, which can lose it.
# The session that opened it stays open until the inner process is gone, as for any other job: of a session that is
# closed the system takes away the runtime directory, and the server too where logind kills (KillUserProcesses=yes).
# The server is a daemon: it must not inherit a descriptor whose end this supervisor waits for.

start_in_tmux() {
  exec 7<&0 </dev/null
  echo 0 >"$dir/keeper"
  # Room for what tmux says, which is then written over it in place.
  mkfifo -m 600 "$dir/in/hold" && chown "$uid" "$dir/in/gate" "$dir/in/hold" &&
    printf '%511s\n' '' >"$dir/in/session" || give_up
  # Opened for both directions a FIFO blocks nobody; 8 is closed once the inner process is the only writer.
  exec 4<>"$dir/in/gate" 8<>"$dir/in/hold" 6<"$dir/in/hold"
  gatekeeper_of_pane 6<&- &
  keeper=$!
  look_at "$keeper"
  keeper_start=$its_start
  exec 4>&- 7<&- 8>&-
  new_session 1<>"$dir/in/session" 2>>"$dir/err.log" 9<&6 6<&-
  [ -e "$dir/u/begun" ] || end_keeper
  # End of file: the inner process is gone, however that came about.
  read -r _ <&6
  claim_at_last exit
  read -r why <"$dir/reason"
  [ "$why" = timeout ] || end_keeper
  finish ''
}

# tmux names its server and its pane among whatever else the user's profile says.
gatekeeper_of_pane() {
  until started=$(sed -n "s/^$id \([0-9]* [0-9]*\) end\$/\1/p" "$dir/in/session") && [ -n "$started" ]; do sleep 0.02; done
  pane=${started##* }
  is_users "$pane" && is_users "${started%% *}" || exit 0
  identify "${started%% *}" >"$dir/server"
  look_at "$pane"
  pane_start=$its_start
  # In a subshell, since passing the gate may end in `exit`; without what tells the supervisor that somebody lives.
  (exec 8>&- && pass_gate "$pane")
  exec 4>&- 7<&-
  until [ -e "$dir/u/begun" ] || ! is_alive "$pane" "$pane_start" "$boot"; do sleep 0.02; done
  exec 8>&-
  time_out
}

new_session() {
  open_session "'$tmux' -f /dev/null -S '$socket' new-session -d -P -F '$id #{pid} #{pane_pid} end' \
    -s job -x 200 -y 50 /bin/sh '$inner' '$dir' 9<&-; read -r over <&9"
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
