# What the inner process does differently in a tmux pane. Sourced by inner.sh.
#
# The pane gives it no descriptors, so the gate is opened by path. `hold` is what the supervisor waits on: it must
# stay open here until the very end, and nowhere else. The output passes through tee, to be seen and recorded;
# the tees ignore what stops the command, so that its last words are kept.

sluice_enter_pane() {
  exec 6>"$sluice_dir/in/hold" 3<"$sluice_dir/in/gate" 5>/dev/null
}

sluice_begin_pane() {
  sluice_tool mkfifo "$sluice_dir/u/out" "$sluice_dir/u/err"
  sluice_tee out 1 &
  sluice_tee err 4 &
  true 2>/dev/null >"$sluice_dir/u/begun"
}

sluice_tee() {
  exec 8>&- 6>&- 5>&- 3<&- 2>/dev/null
  trap '' HUP INT QUIT TERM
  sluice_tool tee -a "$sluice_dir/u/$1.log" <"$sluice_dir/u/$1" >&"$2"
  true 1<>"$sluice_dir/u/$1.done"
}

# What the command left running may keep the streams open: the end does not wait for that.
sluice_drain_pane() {
  sluice_tries=0
  until { [ -e "$sluice_dir/u/out.done" ] && [ -e "$sluice_dir/u/err.done" ]; } || [ "$sluice_tries" -ge 100 ]; do
    sluice_tool sleep 0.02
    sluice_tries=$((sluice_tries + 1))
  done
}
