# Which processes belong to a job, and is a recorded process still the same one. Sourced by supervisor.sh.
#
# A process is (pid, start time in ticks, boot id): a pid alone may be somebody else's by now. A zombie is dead.
# A job's members are found in four ways, because each one can be escaped: the cgroup (where the agent owns one), the
# session, descent, and the marker in the environment. The job's own inner process and supervisor are not members.

# stat_field PID N: field N of /proc/PID/stat, counted from the state (1) on. The name before it may hold anything.
stat_field() {
  stat_line=$(cat "/proc/${1:-0}/stat" 2>/dev/null) || return 1
  set -- "$2" ${stat_line##*) }
  shift "$1"
  echo "$1"
}

starttime() { stat_field "$1" 20; }

identify() { echo "$1 $(starttime "$1") $boot"; }

# The start time of a process that was gone before it could be looked up is empty, as is that of no process at all.
is_alive() {
  [ -n "$2" ] && [ "$3" = "$boot" ] && [ "$1" -gt 1 ] && [ "$(starttime "$1")" = "$2" ] && [ "$(stat_field "$1" 1)" != Z ]
}

uptime_seconds() {
  read -r up _ </proc/uptime
  echo "${up%.*}"
}

# The first reason that is claimed counts. A disk that has no room, or no inode, for one more file still takes one more
# name of a file: the one of that reason beside this script. A file of its own comes first, as names of one are limited.
claim() {
  { echo "$1" >"$dir/reason.$$" && ln "$dir/reason.$$" "$dir/reason"; } 2>/dev/null ||
    ln "${0%/*}/reason-$1" "$dir/reason" 2>/dev/null
  rm -f "$dir/reason.$$"
}

# A disk that takes nothing at all (read-only) is waited for: how the job ended is known here, and nowhere else.
claim_at_last() {
  claim "$1"
  until [ -s "$dir/reason" ] || [ ! -d "$dir" ]; do
    sleep 1
    claim "$1"
  done
}

# pids_of FILE...: /proc/12/stat -> 12
pids_of() {
  for file; do
    file=${file#/proc/}
    echo "${file%%/*}"
  done
}

descendants() {
  next=$1
  while [ -n "$next" ]; do
    next=$(pids_of $(grep -lsE "\) [A-Za-z] ($(echo $next | tr ' ' '|')) " /proc/[0-9]*/stat))
    [ -n "$next" ] && echo "$next"
  done
}

members() {
  inner_pid=0
  if read -r pid begun boot_then 2>/dev/null <"$dir/child" && [ "$boot_then" = "$boot" ]; then inner_pid=$pid; fi
  {
    [ -n "$cgroup" ] && cat "$cgroup/cgroup.procs" 2>/dev/null
    pids_of $(grep -lszxF "SLUICE_JOB_MARK=$mark" /proc/[0-9]*/environ)
    # The session's number may be another's only once nobody of this job has it, and then its leader is younger.
    if [ "$inner_pid" -gt 1 ] && { [ ! -d "/proc/$inner_pid" ] || [ "$(starttime "$inner_pid")" = "$begun" ]; }; then
      pids_of $(grep -lsE "\) [A-Za-z] [0-9]+ [0-9]+ $inner_pid " /proc/[0-9]*/stat)
      descendants "$inner_pid"
    fi
  } | sort -un | while read -r member; do
    [ "$member" = "$inner_pid" ] && continue
    case $(stat_field "$member" 1) in '' | Z | X) ;; *) echo "$member" ;; esac
  done
}
