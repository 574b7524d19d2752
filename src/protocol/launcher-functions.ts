/**
 * What the launcher's verbs have in common, as shell functions: who lives, what the files say, ending a tree,
 * reports. One text together with `launcher-script.ts`, which says how both must be written.
 */
export const LAUNCHER_FUNCTIONS = `
exec 2>/dev/null;
verb=$1 d=$2 boot=$3 t=$4; shift 4; j=$d/$t; c=none; m=$(umask); umask 077;
[ -n "$boot" ] || read -r boot < /proc/sys/kernel/random/boot_id;

nap() { sleep 0.2 || sleep 1; };
refuse() { printf "\\n@sluice 1 token=%s state=refused why=%s\\n@sluice 1 token=%s done\\n" "$t" "$1" "$t"; exit 125; };

# The directory and the one above it: our own, writable, no links.
usable() {
  for x in "\${d%/*}" "$d"; do
    [ -L "$x" ] && refuse dir_symlink;
    [ -d "$x" ] || refuse dir_missing;
    [ -O "$x" ] && [ -w "$x" ] || refuse dir_not_own;
  done;
};

# Alive and no zombie: sets st, its start time. The name in /proc/PID/stat may hold anything, so cut after its last ).
born() {
  [ "$1" -gt 1 ] && bs=$(cat "/proc/$1/stat") || return 1;
  set -- \${bs##*[)] }; st=\${20};
  case $1 in Z|X) return 1 ;; esac;
  [ -n "$st" ];
};
same() { born "$1" && [ "$st" = "$2" ]; };
me() { born $$ && me="$boot $$ $st"; };
starter() { read -r lb lp lq < "$j/l" && [ "$lb" = "$boot" ] && same "$lp" "$lq"; };
killer() { read -r why kb kp kq < "$j/why" && [ "$kb" = "$boot" ] && same "$kp" "$kq"; };

# What the files and processes say of this token: sets state, and what is known beside it. Whether go is there is asked
# first: asked after it could not be read, it may have been made in between, and the start would be taken for lost.
look() {
  state=unknown kind=- code=- sig=- from=- to=- kept=- proof=- left=- b=;
  [ -d "$j" ] || return 0;
  over && return 0;
  if [ -e "$j/go" ] && ! read -r b c q sp sq from < "$j/go"; then state=exit_unknown c=none;
  elif [ -n "$b" ]; then
    case $b in
      tombstone) state=ended kind=tombstone to=$from from=- proof=group+marker ;;
      "$boot")
        if same "$c" "$q" || same "$sp" "$sq"; then state=running;
        elif over; then :;
        else state=exit_unknown; fi ;;
      *) over || state=other_boot ;;
    esac;
  elif starter; then state=starting;
  else state=never_ran; fi;
};
over() { read -r kind code sig from to kept proof left < "$j/exit" && state=ended; };

# All live processes of the token: its session or group, and whoever carries its mark. Sets left. The number of a
# leader that is gone may have become somebody else's, who may lead a group too: then the mark alone counts.
tree() {
  g= st=; born "$c"; case $st in ""|"$q")
  g=$(grep -lsE "[)] [^ZX] [0-9]+ ([0-9]+ $c|$c [0-9]+) " /proc/[0-9]*/stat) ;; esac;
  left=;
  for n in $g $(grep -lszxF "SLUICE_JOB_ID=$t" /proc/[0-9]*/environ); do
    n=\${n#/proc/}; n=\${n%/*};
    case " $left " in *" $n "*) ;; *) left="$left $n" ;; esac;
  done;
  [ -n "$left" ];
};
send() {
  for n in $left; do kill -s "$1" "$n"; done;
  [ "$1" = KILL ] && [ -n "$g" ] && kill -s KILL -- "-$c";
};
# Waits so many seconds for the tree to go, then kills what is left, until nothing is or 5 s are over.
fade() {
  read -r u x < /proc/uptime; z=$((\${u%.*} + $1));
  while tree; do read -r u x < /proc/uptime; [ "\${u%.*}" -lt "$z" ] || break; nap; done;
  k=0; while tree && [ $k -lt 25 ]; do send KILL; nap; k=$((k + 1)); done;
};
# Ends the token: reason, signal, grace. The first reason wins; it is withdrawn if the command was over before us. On a
# full disk files can still be made, but stay empty: what must be known then is told by their names. Without an inode
# left a file that is there can still be given one more name: why, for which the recorder waits until it was sent, too.
mark() { ln "$j/e" "$j/$1" || echo > "$j/$1"; };
finish() {
  me; echo "$1 $me" > "$j/why.$$";
  if ln "$j/why.$$" "$j/why" || ! [ -e "$j/why" ]; then
    [ -e "$j/why" ] || mark why;
    [ "$1" = timeout ] && mark limit;
  else killer || mv "$j/why.$$" "$j/why"; fi;
  if same "$c" "$q"; then tree; send "$2"; mark sent; fade "$3"; mark stopped;
  elif same "$sp" "$sq"; then [ -e "$j/sent" ] || unlink "$j/why";
  else c=none; fade 0; return; fi;
  k=0; while [ $k -lt 100 ]; do over && return; same "$sp" "$sq" || break; nap; k=$((k + 1)); done;
  kind=$1 code=- sig=- to=$(date +%s) kept=0 proof=group+marker; record;
};
# Of a run that is over and left something which could not be killed: tries that again, and records what is left now.
again() { read -r b c q sp sq x < "$j/go"; if [ "$b" = "$boot" ]; then fade 0; else left=; fi; record; };
# Did a signal end the command, or is 128 + n its own code? sh says so in words only, on its own stderr (n, which has its
# room since before the start); of SIGINT and SIGPIPE it says nothing. Silence counts if this sh speaks of others at all.
# A disk that takes nothing is waited for: sh ends where exec cannot open a file, and how the command ended with it.
died() {
  case $code in 130|141) return 0 ;; esac;
  grep -q "[A-Za-z]" "$j/n" && return 0;
  until true 1<> "$j/n"; do [ -d "$j" ] || return; sleep 1; done;
  exec 2<> "$j/n"; sh -c "kill -s KILL \\$\\$"; exec 2> /dev/null;
  ! grep -q "[A-Za-z]" "$j/n";
};
# In place over a file made beforehand, then renamed: this works on a full disk too.
record() {
  [ -e "$j/e" ] || printf "%255s\\n" "" > "$j/e";
  echo "$kind $code $sig $from $to $kept $proof \${left:--}" 1<> "$j/e" && mv "$j/e" "$j/exit";
};

size() { y=-; [ -f "$j/$1" ] && y=$(($(wc -c < "$j/$1"))); };
coded() {
  if command -v base64 > /dev/null; then printf b64:; base64; else printf hex:; od -An -v -tx1; fi | tr -d " \\n";
};
part() { tail -c "+$(($2 + 1))" "$j/$1" | head -c "$3"; };
ending() {
  [ "$y" = - ] && return;
  at=0; [ "$y" -gt "$2" ] && at=$((y - $2));
  printf "@sluice 1 token=%s tail=%s at=%s data=" "$t" "$1" "$at"; part "$1" "$at" $((y - at)) | coded; echo;
};
report() {
  [ $state = starting ] && state=running;
  size out; o=$y; size err; e=$y;
  printf "\\n@sluice 1 token=%s state=%s kind=%s code=%s signal=%s started=%s ended=%s out=%s err=%s kept=%s proof=%s left=%s\\n" "$t" $state $kind $code $sig $from $to $o $e $kept $proof "\${left:--}";
  case $state in ended|exit_unknown|other_boot)
    [ "$1" -gt 0 ] && { y=$o; ending out "$1"; y=$e; ending err "$1"; } ;;
  esac;
  echo "@sluice 1 token=$t done";
};

# The pane of a tmux session is descriptor 7: output is shown there too, and when it closes, the command hears of it.
hangup() { look; [ $state = running ] && tree && send HUP; exit; };
spill() { size "$1"; [ "$y" = - ] && y=0; [ "$y" -gt "$2" ] && part "$1" "$2" $((y - $2)) >&7; };
mirror() {
  trap hangup HUP; p=0 r=0;
  while [ -t 7 ]; do
    look; spill out $p; p=$y; spill err $r; r=$y;
    case $state in ended|exit_unknown) exit ;; esac;
    nap;
  done;
  hangup;
};

# Finds or makes the directory under b, and tries there what the launcher relies on. Its name is new when it is new, so
# that a directory which was wiped and made again is never taken for the one with a job's latch.
prove() {
  case $b in /?*/*) ;; *) return 1 ;; esac;
  [ -L "$b" ] && return 1;
  [ -d "$b" ] || mkdir "$b" || return 1;
  [ -O "$b" ] && chmod 700 "$b" && [ -w "$b" ] || return 1;
  x=$(df -P "$b" | tail -n 1); fs=$(grep -F " \${x##* } " /proc/mounts | tail -n 1); fs=\${fs#* * }; fs=\${fs%% *};
  case $fs in fuse.fuse-overlayfs|fuseblk) ;;
    ""|nfs*|cifs|smb*|afs*|ceph|gluster*|lustre|gpfs|beegfs|fuse*|9p|virtiofs|ocfs2|gfs2|coda|ncp*) return 1 ;;
  esac;
  i=; read -r i < "$b/id" && { [ -d "$b/$i" ] || unlink "$b/id"; };
  if [ -n "$i" ] && [ -d "$b/$i" ]; then :; else
    read -r n < /proc/sys/kernel/random/uuid;
    mkdir "$b/$n" && echo "$n" > "$b/$n/id" && ln "$b/$n/id" "$b/id";
    read -r i < "$b/id" || return 1;
  fi;
  d=$b/$i; x=$d/probe.$$;
  mkdir "$x" && echo ok > "$x/a" && ln "$x/a" "$x/b" && mv "$x/b" "$x/c" && [ "$(cat "$x/c")" = ok ];
  y=$?; find "$x" -delete; return $y;
};

# Once a day: output of runs that ended 7 days ago, directories after 30.
clear() {
  [ -n "$(find "$d/cleared" -mtime -1)" ] && return;
  echo > "$d/cleared";
  find "$d" -name exit -mtime +6 | while read -r f; do
    unlink "\${f%/exit}/out"; unlink "\${f%/exit}/err";
    [ -n "$(find "$f" -mtime +29)" ] && find "\${f%/exit}" -delete;
  done;
  find "$d" -mindepth 1 -maxdepth 1 -type d -mtime +29 | while read -r j; do
    look; case $state in never_ran|exit_unknown|other_boot) find "$j" -delete ;; esac;
    [ "$kind" = tombstone ] && find "$j" -delete;
  done;
};
`;
