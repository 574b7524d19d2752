# Which processes belong to a job, and is a recorded process still the same one. Sourced by supervisor.sh.
#
# A process is (pid, start time in ticks, boot id): a pid alone may be somebody else's by now. A zombie is dead.
# A job's members are found in four ways, because each one can be escaped: the cgroup (where the agent owns one), the
# session, descent, and the marker in the environment. The job's own inner process and supervisor are not members.

# look_at PID: what /proc/PID/stat says of it now, as $its_state, $its_parent, $its_group and $its_start (in ticks since
# boot); all empty where it is gone. Read by sh itself: nearly all that a short job costs its host is the programs that are
# started to keep it. The name in the line may hold anything, spaces, parentheses and newlines too.
look_at() {
  its_stat=
  while read -r its_line; do its_stat="$its_stat$its_line "; done 2>/dev/null <"/proc/${1:-0}/stat"
  set -- ${its_stat##*) }
  its_state=$1 its_parent=$2 its_group=$3 its_start=${20}
}

# identify PID: the line that names it in a file.
identify() {
  look_at "$1"
  echo "$1 $its_start $boot"
}

# is_alive PID START BOOT: is the process of such a line still there?
is_alive() {
  [ "$3" = "$boot" ] && [ "$1" -gt 1 ] && is_running "$1" "$2"
}

# The start time of a process that was gone before it could be looked up is empty, as is that of no process at all.
is_running() {
  look_at "$1"
  [ -n "$2" ] && [ "$its_start" = "$2" ] && [ "$its_state" != Z ]
}

uptime_seconds() {
  read -r up _ </proc/uptime
  echo "${up%.*}"
}

# make FILE: of several that make it one wins; for the others it fails.
make() {
  set -C
  true 2>/dev/null >"$1"
  made=$?
  set +C
  return $made
}

# The first reason that is claimed counts. A disk that has no room, or no inode, for one more file still takes one more
# name of a file: the one of that reason beside this script. A file of its own comes first, as names of one are limited; it
# keeps the name that it was made by, which nobody else may write: a subshell has the $$ of its parent.
claimant=$$
claim() {
  [ ! -e "$dir/reason" ] || return 0
  { echo "$1" >"$dir/reason.$claimant" && ln "$dir/reason.$claimant" "$dir/reason"; } 2>/dev/null && return 0
  ln "${0%/*}/reason-$1" "$dir/reason" 2>/dev/null
  rm -f "$dir/reason.$claimant"
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

# members: one a line. Fails where no process could be made to look for them.
members() {
  inner_pid=0
  if read -r pid begun boot_then 2>/dev/null <"$dir/child" && [ "$boot_then" = "$boot" ]; then inner_pid=$pid; fi
  suspects=$(grep -lszxF "SLUICE_JOB_MARK=$mark" /proc/[0-9]*/environ)
  [ -n "$cgroup" ] && suspects="$suspects $(cat "$cgroup/cgroup.procs" 2>/dev/null)"
  # The session's number may be another's only once nobody of this job has it, and then its leader is younger.
  if [ "$inner_pid" -gt 1 ] && { look_at "$inner_pid"; [ -z "$its_start" ] || [ "$its_start" = "$begun" ]; }; then
    suspects="$suspects $(grep -lsE "\) [A-Za-z] [0-9]+ [0-9]+ $inner_pid " /proc/[0-9]*/stat)"
    [ -z "$its_start" ] || suspects="$suspects $(descendants "$inner_pid")"
  fi
  case $suspects in *[0-9]*) ;; *) return 0 ;; esac
  for member in $(pids_of $suspects | sort -un); do
    [ "$member" = "$inner_pid" ] && continue
    look_at "$member"
    case $its_state in '' | Z | X) ;; *) echo "$member" ;; esac
  done
  return 0
}
