# Runs the services of a job, then the job's command, and ends with its status.
#
# $1 the directory below which each service has one of its own
# $2 the job's command
# for each service: its name, its variable, the seconds until it must be ready, what comes first on
# its PATH, its command, and the command that tells that it is ready, or nothing
#
# In $PIKACI_ARTIFACTS/.pikaci-services are the services' logs, and `status`: a line for each that
# was not ready in time (`not_ready`), ended before it was (`died`) or before the job was (`ended`),
# with its name and its exit code or the seconds.
dir=$1 command=$2
shift 2
logs=$PIKACI_ARTIFACTS/.pikaci-services
mkdir -p "$dir" "$logs" || exit 75
: >"$logs/status"
stopped=
trap stopped=1 TERM
names=() pids=() readies=() limits=() paths=()
while [ $# -gt 0 ]; do
  mkdir -m 700 "$dir/$1" || exit 75
  export "$2=$dir/$1"
  names+=("$1") limits+=("$3") paths+=("$4") readies+=("$6")
  commands+=("$5")
  shift 6
done
run() { # the number of a service, a command; in the place of a subshell
  # Without the job's secrets: nothing keeps the services' logs clear of them.
  unset -v "${!PIKACI_SECRET_@}"
  export PIKACI_SERVICE_DIR=$dir/${names[$1]} PATH=${paths[$1]:+${paths[$1]}:}$PATH
  exec bash --noprofile --norc -c "$2" </dev/null >>"$logs/${names[$1]}.log" 2>&1
}
begin() { # a function and its arguments, in a process group of its own: `begun`
  set -m
  "$@" &
  begun=$!
  set +m # or what is waited for is reported
}
end_after() { # seconds, a signal, processes or groups of them
  sleep "$1" && kill "${@:2}"
}
for i in "${!names[@]}"; do
  begin run "$i" "${commands[i]}"
  pids+=("$begun")
done
end() {
  local pid
  for pid in "${pids[@]}"; do kill -TERM -- "-$pid" 2>/dev/null; done
  begin end_after 5 -KILL -- "${pids[@]/#/-}" >/dev/null 2>&1
  wait "${pids[@]}" 2>/dev/null
  # What a service began and didn't wait for. Bounded: a dead one may wait for its parent.
  for pid in "${pids[@]}"; do
    for _ in {1..300}; do kill -0 -- "-$pid" 2>/dev/null && sleep 0.02 || break; done
  done
  kill -TERM -- "-$begun" 2>/dev/null
}
fail() { # what became of it, the number of the service, its exit code or the seconds
  echo "$1 ${names[$2]} $3" >>"$logs/status"
  echo "pikaci: service ${names[$2]}: the last lines of its log" >&2
  tail -n 20 "$logs/${names[$2]}.log" >&2
  end
  exit 75
}
for i in "${!names[@]}"; do
  [ -n "${readies[i]}" ] || continue
  late= pause=0.01
  trap late=1 ALRM
  begin end_after "${limits[i]}" -ALRM $$ >/dev/null 2>&1
  clock=$begun
  until
    begin run "$i" "${readies[i]}"
    wait "$begun"
  do
    if [ -n "$late$stopped" ]; then
      kill -KILL -- "-$begun" 2>/dev/null
      wait "$begun" 2>/dev/null
      [ -z "$stopped" ] || { end; exit 143; }
      fail not_ready "$i" "${limits[i]}"
    fi
    if ! kill -0 "${pids[i]}" 2>/dev/null; then
      wait "${pids[i]}"
      fail died "$i" "$?"
    fi
    sleep "$pause"
    case $pause in 0.01) pause=0.02 ;; 0.02) pause=0.05 ;; 0.05) pause=0.1 ;; *) pause=0.25 ;; esac
  done
  kill -TERM -- "-$clock" 2>/dev/null
done
bash --noprofile --norc -c "$command"
status=$?
for i in "${!names[@]}"; do
  if ! kill -0 "${pids[i]}" 2>/dev/null; then
    wait "${pids[i]}"
    echo "ended ${names[i]} $?" >>"$logs/status"
  fi
done
end
exit "$status"
