# Processes in the background, and memory cgroups; sourced.
#
# A process is remembered in a file "PID START", where START is its start time in clock
# ticks since boot: so a pid that is used again is recognised.

# start_time PID: prints it, or nothing when there is no such process (or only its zombie).
start_time() {
  local stat
  read -r stat 2>/dev/null <"/proc/$1/stat" || return 0
  stat=${stat##*) } # the name may hold spaces and parentheses
  # shellcheck disable=SC2086
  set -- $stat
  case $1 in Z | X) ;; *) printf '%s\n' "${20}" ;; esac
}

remember() { printf '%s %s\n' "$2" "$(start_time "$2")" >"$1"; }

pid_of() { local pid start; read -r pid start <"$1" && printf '%s\n' "$pid"; }

# runs FILE: does the remembered process still run?
runs() {
  local pid start
  read -r pid start 2>/dev/null <"$1" || return 1
  [ -n "$start" ] && [ "$(start_time "$pid")" = "$start" ]
}

# end FILE SECONDS: SIGTERM, up to so many seconds, SIGKILL. False if it had to be killed.
end() {
  local file=$1 deadline=$((SECONDS + $2)) rc=0
  if runs "$file"; then
    kill -TERM "$(pid_of "$file")" 2>/dev/null || true
    while runs "$file"; do
      if [ $SECONDS -ge $deadline ]; then
        kill -KILL "$(pid_of "$file")" 2>/dev/null || true
        deadline=$((SECONDS + 10))
        rc=1
      fi
      sleep 0.05
    done
  fi
  rm -f "$file"
  return $rc
}

# marked_pids: all processes that have ZIYU_STACK=$stack in their environment: the parts,
# and processes that a dead part left behind.
marked_pids() {
  local file pid
  for file in /proc/[0-9]*/environ; do
    pid=${file#/proc/}
    pid=${pid%/environ}
    if grep -qzxF "ZIYU_STACK=$stack" "$file" 2>/dev/null && [ -n "$(start_time "$pid")" ]; then
      printf '%s\n' "$pid"
    fi
  done
}

# end_marked: ends the remaining processes of the stack; false if one did not end by itself
# within 5 seconds.
end_marked() {
  local deadline=$((SECONDS + 5)) pids pid
  while :; do
    pids=$(marked_pids)
    if [ -z "$pids" ]; then return 0; fi
    if [ $SECONDS -ge $deadline ]; then break; fi
    sleep 0.1
  done
  printf '  killing what was left behind: %s\n' "$(tr '\n' ' ' <<<"$pids")" >&2
  for pid in $pids; do kill -KILL "$pid" 2>/dev/null || true; done
  return 1
}

# -- memory cgroups ----------------------------------------------------------------------

# cgroup_parents: prints "VERSION FOLDER" for the cgroups below which ours may be made.
cgroup_parents() {
  local mount own
  mount=$(awk '$3 == "cgroup" && $4 ~ /(^|,)memory(,|$)/ { print $2; exit }' /proc/self/mounts)
  if [ -n "$mount" ]; then
    own=$(awk -F: '$2 ~ /(^|,)memory(,|$)/ { print $3 }' /proc/self/cgroup)
    printf '1 %s\n1 %s\n' "$mount${own%/}" "$mount"
    return
  fi
  mount=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
  if [ -z "$mount" ]; then return; fi
  own=$(awk -F: '$1 == "0" { print $3 }' /proc/self/cgroup)
  # In version 2 a group with processes, other than the root, has no limited children: so
  # the new group is made beside our own, if that is allowed.
  printf '2 %s\n2 %s\n' "$mount${own%/}" "$mount$(dirname "$own")"
}

# make_cgroup BYTES FILE: makes a group with this limit, prints its folder and writes it to
# FILE. False where that is not allowed.
make_cgroup() {
  local version parent folder
  while read -r version parent; do
    if [ ! -w "$parent/cgroup.procs" ]; then continue; fi
    folder=$parent/ziyu-stack-$$
    if [ "$version" = 1 ]; then
      mkdir "$folder" 2>/dev/null || continue
      if { echo "$1" >"$folder/memory.limit_in_bytes"; } 2>/dev/null; then
        # No swap beyond it, where swap is counted.
        { echo "$1" >"$folder/memory.memsw.limit_in_bytes"; } 2>/dev/null || true
        printf '%s\n' "$folder" | tee "$2"
        return 0
      fi
    else
      grep -qw memory "$parent/cgroup.subtree_control" 2>/dev/null || continue
      mkdir "$folder" 2>/dev/null || continue
      if { echo "$1" >"$folder/memory.max"; } 2>/dev/null; then
        { echo 0 >"$folder/memory.swap.max"; } 2>/dev/null || true
        printf '%s\n' "$folder" | tee "$2"
        return 0
      fi
    fi
    rmdir "$folder"
  done < <(cgroup_parents)
  return 1
}

# remove_cgroup FILE: once its processes are gone.
remove_cgroup() {
  local folder deadline=$((SECONDS + 5))
  read -r folder 2>/dev/null <"$1" || return 0
  while [ -d "$folder" ] && ! rmdir "$folder" 2>/dev/null; do
    if [ $SECONDS -ge $deadline ]; then
      printf '  the cgroup %s could not be removed\n' "$folder" >&2
      break
    fi
    sleep 0.1
  done
  rm -f "$1"
}
