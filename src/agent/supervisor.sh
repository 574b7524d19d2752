#!/bin/sh
# The supervisor of one job: the only parent that its command has, and the only program that signals it.
#
#   supervisor.sh start  DIR                        start the command once, wait for it, publish DIR/exit
#   supervisor.sh stop   DIR REASON SIGNAL GRACE    stop the job's whole tree: signal, wait, SIGKILL
#   supervisor.sh expire DIR SECONDS                wait until the host has been up for so long, then stop it
#   supervisor.sh finish DIR CODE                   publish DIR/exit for a supervisor that was killed
#   supervisor.sh abandon DIR                       certify that a command whose supervisor was killed never began
#
# DIR/spec (written by the agent, values that no request can shape into shell) says what to do. Everything is a file,
# so the agent may die, restart or be replaced at any point. Rules that make the start provable:
#   started/ is made first, and only one process can make it;
#   child    (pid, start time, boot id) is on disk before `go` exists, and no command begins before `go` exists;
#   reason   is claimed once, by hard link: whoever claims it decides whether the job ended or was stopped.
# A disk may have no room left at any of these steps. What must be known before the command begins is checked to have
# been written, else nothing begins; what is written after that has had its room since before. Files are made by `true`:
# where `:` cannot make one, sh ends. What sh can do itself is done by no program: they are most of what a short job costs.
# Traps are not used: a trapped signal would make `wait` return a code that is not the command's.

PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
LC_ALL=C
export LC_ALL
umask 022

start() {
  # A directory: it takes no less room than what is made next, so that on a full disk nothing is begun by halves.
  mkdir "$dir/started" 2>/dev/null || exit 0
  echo 0 2>/dev/null >/proc/self/oom_score_adj
  identify $$ >"$dir/supervisor" && mkfifo -m 600 "$dir/in/gate" "$dir/in/hello" || give_up
  if [ "$mode" = tmux ]; then
    start_in_tmux
  else
    start_plain
  fi
}

# The command's session runs in the foreground, since sh lets a background command ignore SIGINT and SIGQUIT; the
# gatekeeper beside it opens the gate. The two FIFOs are opened in the same order on both sides, so neither blocks.
start_plain() {
  exec 7<&0 </dev/null
  gatekeeper &
  keeper=$!
  echo "$keeper" >"$dir/keeper"
  look_at "$keeper"
  keeper_start=$its_start
  exec 7<&-
  open_session "exec /bin/sh '$inner' '$dir'" /bin/sh "$inner" "$dir" \
    >>"$dir/out.log" 2>>"$dir/err.log" 3<"$dir/in/gate" 5>"$dir/in/hello"
  code=$?
  if [ -e "$dir/go" ]; then outlive_session; elif [ "$code" = 75 ]; then claim no_room; fi
  claim_at_last exit
  read -r why <"$dir/reason"
  [ "$why" = timeout ] || end_keeper
  finish "$code"
}

# The timer of a job that is over goes, and what it waits for with it: most kernels name that without a search.
end_keeper() {
  is_running "$keeper" "$keeper_start" || return
  waits_for=
  read -r waits_for 2>/dev/null <"/proc/$keeper/task/$keeper/children"
  kill -s KILL "$keeper" ${waits_for:-$(descendants "$keeper")} 2>/dev/null
}

# Nothing has begun, and nothing will: the start could not be written down.
give_up() {
  claim_at_last no_room
  finish ''
  exit
}

# A session may be ended from outside (loginctl, a kill of su); its code is then not the command's. While the inner process
# lives the job goes on. What su takes along may have left the command behind: it is ended, so that over means over.
outlive_session() {
  read -r pid begun boot_then <"$dir/child" || return
  outlived=
  while is_alive "$pid" "$begun" "$boot_then"; do outlived=yes && sleep 0.1; done
  if [ -e "$dir/u/over" ]; then
    [ -z "$outlived" ] || code=
  elif [ "$code" -gt 128 ] && [ -n "$(members)" ]; then
    kill_all
  fi
}

gatekeeper() {
  exec 4>"$dir/in/gate"
  read -r pid <"$dir/in/hello" || exit 0
  is_ours "$pid" || exit 0
  pass_gate "$pid"
  exec 4>&- 7<&-
  time_out
}

# A loss costs a second: the agent looks at every job once in each.
nudge() {
  [ ! -e "$nudges" ] || echo "$id" >>"$nudges"
}

# Slept for here first: most jobs end before, and the program that stops one is then never started.
time_out() {
  [ "$timeout" -gt 0 ] || return
  overdue_at=$(($(uptime_seconds) + timeout))
  sleep "$timeout"
  exec /bin/sh "$0" expire "$dir" "$overdue_at"
}

# Lets the inner process begin: after its identity is on disk, and unless somebody has asked to stop the job.
# `go` is made before `reason` is looked at, and a stop claims `reason` before it looks for `go`: one of the two sees the other.
pass_gate() {
  claimant=gate
  [ -n "$cgroup" ] && mkdir -p "$cgroup" && echo "$1" >"$cgroup/cgroup.procs" && true >"$dir/in/cgroup"
  identify "$1" >"$dir/child" && sync "$dir/child" "$dir" && make "$dir/go" || { claim no_room; exit 0; }
  nudge
  if [ -e "$dir/reason" ]; then
    true >"$dir/held"
    exit 0
  fi
  echo go >&4
  [ ! -e "$dir/in/secrets" ] || cat <&7 >&4
}

# open_session TEXT [PROGRAM ARGUMENT...]: runs a line of this script's own making as the job's user, in a session of its
# own; or the program of that line, where no other shell has to be asked to.
open_session() {
  case $session in
    su)
      setsid su -s "$login_shell" -c "$1" - "$user"
      return
      ;;
    login) set -- "$login_shell" -l -c "$1" ;;
    own) if [ $# -gt 1 ]; then shift; else set -- /bin/sh -c "$1"; fi ;;
  esac
  # The environment of this script is empty but for its own PATH and locale, and what some shells add by themselves.
  (
    cd "$home" 2>/dev/null || cd /
    export HOME="$home" USER="$user" LOGNAME="$user" SHELL="$login_shell"
    unset LC_ALL PWD OLDPWD SHLVL
    exec setsid "$@"
  )
}

# The inner process named itself; it is believed only if this supervisor is its parent or its parent's parent (su).
is_ours() {
  case $1 in '' | *[!0-9]*) return 1 ;; esac
  look_at "$1"
  [ "$its_parent" = $$ ] && return
  look_at "$its_parent"
  [ "$its_parent" = $$ ]
}

stop() {
  claim "$1"
  read -r why <"$dir/reason"
  [ "$why" = exit ] && return
  identify $$ >"$dir/stopper"
  if [ -e "$dir/go" ]; then
    deadline=$(($(uptime_seconds) + $3))
    [ "$2" = KILL ] || signal_all "$2"
    [ "$2" = KILL ] || while [ -n "$(members)" ] && [ "$(uptime_seconds)" -lt "$deadline" ]; do sleep 0.05; done
    kill_all
    release_inner
    # Over before: what could not be killed then may have gone by now, which is the agent's to tell.
    [ ! -e "$dir/exit" ] || members >"$dir/left"
  else
    close_session
  fi
}

# Before the start: whatever opens the session, a profile for example, is killed until the supervisor has noticed and
# finishes. The gatekeeper is spared: without it the supervisor would wait for the other end of a FIFO for ever.
close_session() {
  tries=0
  while [ ! -e "$dir/finishing" ] && [ "$tries" -lt 100 ]; do
    if read -r keeper 2>/dev/null <"$dir/keeper" && read -r pid begun boot_then <"$dir/supervisor"; then
      is_alive "$pid" "$begun" "$boot_then" || return
      kill -s KILL $(descendants "$pid" | grep -vx "$keeper") 2>/dev/null
    fi
    sleep 0.05
    tries=$((tries + 1))
  done
}

# The command's group gets the signal at once; members outside of it one by one, so that nobody gets it twice.
signal_all() {
  group=
  if read -r pid begun boot_then <"$dir/child" && is_alive "$pid" "$begun" "$boot_then"; then group=$pid; fi
  others=
  for member in $(members); do
    look_at "$member"
    [ "$its_group" = "$group" ] || others="$others $member"
  done
  [ -n "$group" ] && kill -s "$1" -- "-$group" 2>/dev/null
  [ -n "$others" ] && kill -s "$1" $others 2>/dev/null
}

# SIGKILL until nobody is left. The inner process is spared at first: it records how the command ended.
kill_all() {
  round=0
  while [ "$round" -lt 60 ]; do
    # Where no process can be made, nobody can be looked for, and nobody is known to be gone.
    doomed=$(members) || { round=$((round + 1)) && sleep 0.05; continue; }
    [ -z "$doomed" ] && [ "$round" -gt 0 ] && break
    [ -n "$doomed" ] && kill -s KILL $doomed 2>/dev/null
    [ "$round" -eq 3 ] && [ -n "$cgroup" ] && echo 1 2>/dev/null >"$cgroup/cgroup.kill"
    round=$((round + 1))
    [ -n "$doomed" ] && sleep 0.05
  done
}

# With its command gone the inner process ends by itself; one that does not within a second is killed as well.
release_inner() {
  read -r pid begun boot_then <"$dir/child" || return
  tries=0
  while is_alive "$pid" "$begun" "$boot_then" && [ "$tries" -lt 50 ]; do
    sleep 0.02
    tries=$((tries + 1))
  done
  is_alive "$pid" "$begun" "$boot_then" && kill -s KILL "$pid" 2>/dev/null
  [ "$mode" = tmux ] && kill_server
}

see_left() {
  until left=$(members); do sleep 1; done
}

finish() {
  true >"$dir/finishing"
  why=
  read -r why <"$dir/reason"
  if read -r pid begun boot_then 2>/dev/null <"$dir/stopper" && [ "$pid" != $$ ]; then
    while is_alive "$pid" "$begun" "$boot_then"; do sleep 0.02; done
  fi
  [ -e "$dir/go" ] || [ "$why" != exit ] || why=spawn_error
  see_left
  if [ "$leftovers" = kill ] && [ "$why" = exit ] && [ -n "$left" ]; then
    signal_all TERM
    deadline=$(($(uptime_seconds) + 5))
    while [ -n "$(members)" ] && [ "$(uptime_seconds)" -lt "$deadline" ]; do sleep 0.05; done
    why_kill=1
  fi
  case $why$why_kill in exit | spawn_error | never_ran | no_room) ;; *) kill_all && see_left ;; esac
  # One that finishes for a supervisor that was killed is made again; the supervisor itself stays until it is heard.
  until publish "$1" || [ "$verb" != start ] || [ ! -d "$dir" ]; do sleep 1; done
  nudge
}

# The record was given its room on the disk when the job was accepted: writing it in place works on a full disk.
# What is published once stays as it is.
publish() {
  [ ! -e "$dir/exit" ] || return 0
  proof=group+marker
  [ -e "$dir/in/cgroup" ] && grep -qs '^populated 0' "$cgroup/cgroup.events" && proof=cgroup && rmdir "$cgroup"
  # What never began has no code: what there is belongs to the session that was opened for it.
  if [ -e "$dir/held" ] || [ ! -e "$dir/go" ]; then code=; else code=$1; fi
  named=
  [ -z "$left" ] || named=$(echo $left | cut -d ' ' -f 1-40)
  set -- $left
  printf 'code=%s\nreason=%s\nproof=%s\nleft=%s\ncount=%s\nend\n' \
    "$code" "$why" "$proof" "$named" $# 1<>"$dir/exit.new" || return
  ln "$dir/exit.new" "$dir/exit" 2>/dev/null || [ -e "$dir/exit" ] || return
  sync "$dir/exit" "$dir"
}

# Claiming first and looking for `go` second is the other half of pass_gate: after this the gate stays shut, or the
# command had begun before, and then this was not the time to abandon it.
abandon() {
  claim never_ran
  if [ -e "$dir/go" ] && [ ! -e "$dir/held" ]; then
    rm "$dir/reason"
    return
  fi
  # What is left of its session; not if the number is another process's by now.
  if read -r pid begun boot_then 2>/dev/null <"$dir/supervisor" && [ ! -d "/proc/$pid" ]; then
    kill -s KILL $(pids_of $(grep -lsE "\) [A-Za-z] [0-9]+ [0-9]+ $pid " /proc/[0-9]*/stat)) 2>/dev/null
  fi
  true >"$dir/held"
  finish ''
}

# A sleep that was killed, by a killall for example, is no reason to end the job early.
expire() {
  while rest=$(($1 - $(uptime_seconds))) && [ "$rest" -gt 0 ]; do sleep "$rest"; done
  stop timeout TERM 10
}

main() {
  verb=$1 dir=$2
  . "$dir/spec"
  . "${0%/*}/processes.sh"
  . "${0%/*}/tmux.sh"
  shift 2
  case $verb in
    start) start ;;
    stop) stop "$@" ;;
    expire) expire "$@" ;;
    finish) claim exit && [ -s "$dir/reason" ] && finish "$@" ;;
    abandon) abandon ;;
  esac
}

# A running shell reads its file as it goes: calling main on the last line means all of it has been read by then.
main "$@"
