/**
 * The launcher's shell script: one POSIX text that Base agents run with a verb as its first word. The caller is
 * `launcher.ts`; the words that it prints are read by `launcher-report.ts`; `docs/base-agents.md` tells the files.
 *
 * What it keeps: the command begins at most once per token, because only whoever makes the hard link `go` may
 * begin, and `go` names the process (boot id, pid, start time) that will become the command. A tombstone is the same
 * link made by a cancel. No process is signalled unless all three agree.
 *
 * How it must be written: it travels as one line through login shells of every kind, so it has no single quote and
 * no comment at the end of a line; every line ends where a blank may follow. Words that hosts' blacklists usually
 * name must not occur in it. `$0` is the text itself, so that it can start its own parts.
 */
import { LAUNCHER_FUNCTIONS } from './launcher-functions.ts';

export const LAUNCHER_SCRIPT = oneLine(`${LAUNCHER_FUNCTIONS}
case $verb in
probe)
  missing=;
  for x in setsid env ln mkdir mv find grep tail head wc od tr date cat sleep id df unlink sync; do
    command -v $x > /dev/null || missing="$missing $x";
  done;
  born $$ && printf "x\\000" | grep -qzxF x || missing="$missing proc";
  [ -z "$missing" ] || refuse "missing$missing";
  for b in "$HOME/.sluice" "/var/tmp/sluice-$(id -u)"; do
    prove && {
      printf "\\n@sluice 1 token=- state=usable user=%s uid=%s boot=%s at=%s fs=%s dir=%s\\n" "$(id -un)" "$(id -u)" "$boot" "$(date +%s)" "$fs" "$d";
      echo "@sluice 1 token=- done"; exit 0;
    };
  done;
  refuse no_directory ;;

start)
  bytes=$1 mode=$2 limit=$3 grace=$4 after=$5 w=$6 h=$7; shift 7;
  usable;
  [ -n "$h" ] || { h=/bin/bash; [ -x $h ] || h=/bin/sh; };
  i=0 tries=0;
  if [ "$mode" = pane ] && [ -t 0 ]; then exec 7<&0; else mode=plain; exec 7< /dev/null; fi;
  while :; do
    look;
    case $state in
    unknown|never_ran)
      [ $tries -lt 2 ] || break; tries=$((tries + 1));
      if [ -n "$w" ]; then CDPATH= cd -- "$w" > /dev/null || refuse workdir; w=; fi;
      [ -f "$h" ] && [ -x "$h" ] || refuse shell;
      mkdir "$j"; me && echo "$me" > "$j/l.$$" && mv "$j/l.$$" "$j/l" || refuse dir_not_writable;
      [ $mode = plain ] || { mirror & shown=$!; };
      setsid sh -c "$0" "$0" job "$d" "$boot" "$t" "$limit" "$grace" "$after" "$m" "$h" "$@" <&7 7<&- > /dev/null;
      look;
      [ $mode = plain ] || { [ $state = ended ] || kill "$shown"; wait "$shown"; } ;;
    starting|running) i=$((i + 1)); if [ $i -lt 25 ]; then nap; else sleep 1; fi ;;
    *) break ;;
    esac;
  done;
  report "$bytes";
  [ "$kind" = timeout ] && exit 124;
  [ "$state" = ended ] && [ "$code" -ge 0 ] && exit "$code";
  exit 125 ;;

# The recorder: parent of the command, in a session of its own so that the end of the agent does not reach it.
job)
  limit=$1 grace=$2 after=$3 m=$4 h=$5; shift 5;
  me; mine="$$ $st" w=; [ -e "$j/e" ] || printf "%255s\\n" "" > "$j/e";
  [ "$limit" -eq 0 ] || { setsid sh -c "$0" "$0" timer "$d" "$boot" "$t" "$limit" "$grace" < /dev/null & w=$!; };
  printf "%255s\\n" "" > "$j/n"; exec 2<> "$j/n";
  setsid sh -c "$0" "$0" gate "$d" "$boot" "$t" "$mine" "$m" "$h" "$@"; code=$?; exec 2> /dev/null;
  to=$(date +%s) kind=exit sig=- kept=0 proof=- left=;
  if read -r b c q sp sq from < "$j/go" && [ "$sp $sq" = "$mine" ]; then
    k=0; while [ -e "$j/why" ]; do
      [ -e "$j/sent" ] && break;
      [ $k -lt 10 ] || { killer && [ $k -lt 150 ]; } || break;
      nap; k=$((k + 1));
    done;
    if [ -e "$j/sent" ]; then
      kind=canceled; [ -e "$j/limit" ] && kind=timeout;
      while tree; do [ -e "$j/stopped" ] && break; killer || { fade 0; break; }; nap; done;
      proof=group+marker;
    elif tree; then
      if [ "$after" = kill ]; then send TERM; fade "$grace"; proof=group+marker;
      else for n in $left; do kept=$((kept + 1)); done; left=; fi;
    fi;
    if [ "$code" -gt 128 ] && [ "$code" -lt 193 ] && died; then
      x=$(kill -l "$code"); x=\${x#SIG};
      [ -z "$x" ] || { sig=$x; [ $kind = exit ] && kind=signal; };
    fi;
    until record; do [ -d "$j" ] || break; sleep 1; done; unlink "$j/n"; clear;
  fi;
  [ -z "$w" ] || [ $kind = timeout ] || kill -s KILL -- "$w" "-$w" ;;

# Becomes the command, if it is the first to get here.
gate)
  s=$1 m=$2 h=$3; shift 3;
  exec 8>> "$j/out" 9>> "$j/err";
  me && echo "$me $s $(date +%s)" > "$j/c.$$" && { sync "$j/c.$$"; ln "$j/c.$$" "$j/go"; } || exit 125;
  sync "$j" "$d";
  nl=$(printf "\\nx"); nl=\${nl%x}; n=$# v="SLUICE_JOB_ID=$t";
  while [ "$n" -gt 0 ]; do
    k=$1 a=$2; shift 2; n=$((n - 2));
    case $k in
    n) v=$v$nl$a ;;
    e) set -- "$@" "$v"; v=$a ;;
    c) set -- "$@" "$v" "$h" -c; v=$a ;;
    esac;
  done;
  umask "$m";
  exec env "$@" "$v" >&8 2>&9 8>&- 9>&- ;;

# Its sleep may be killed, by a killall for example, which is no reason to end the job early.
timer)
  read -r u x < /proc/uptime; z=$((\${u%.*} + $1)); sleep "$1";
  while read -r u x < /proc/uptime; [ "\${u%.*}" -lt "$z" ]; do sleep $((z - \${u%.*})); done;
  look; [ $state = running ] && finish timeout TERM "$2" ;;

cancel)
  usable; mkdir "$j"; look;
  case $state in unknown|never_ran|starting)
    echo "tombstone - - - - $(date +%s)" > "$j/g.$$" && ln "$j/g.$$" "$j/go"; sync "$j/go" "$j" "$d";
    [ -e "$j/go" ] || refuse dir_not_writable; look ;;
  esac;
  case $state in
  running) finish "$4" "$1" "$2"; x=$left; look; [ $state = ended ] || left=$x ;;
  ended) [ "\${left:--}" = - ] || again ;;
  exit_unknown) c=none; fade 0; proof=group+marker ;;
  esac;
  report "$3" ;;

state) bytes=$t t=-; usable; for t in "$@"; do j=$d/$t; look; report "$bytes"; done ;;

read)
  usable; look; whole=1; case $state in running|starting|never_ran|unknown) whole=0 ;; esac;
  size "$1"; z=$y; [ "$z" = - ] && z=0; k=$3; [ $(($2 + k)) -gt "$z" ] && k=$((z - $2)); [ "$k" -gt 0 ] || k=0;
  printf "\\n@sluice 1 token=%s range=%s state=%s at=%s size=%s whole=%s data=" "$t" "$1" $state "$2" "$y" $whole;
  part "$1" "$2" $k | coded; printf "\\n@sluice 1 token=%s done\\n" "$t" ;;
esac
`);

/** Lines without their indentation and comments, one blank between. */
export function oneLine(text: string): string {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .join(' ');
}
