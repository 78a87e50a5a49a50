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
trap : TERM
plain=(bash) # without the job's secrets: nothing keeps the services' logs clear of them
for name in "${!PIKACI_SECRET_@}"; do
  [ "${#plain[@]}" -gt 1 ] || plain=(env bash)
  plain=(env -u "$name" "${plain[@]:1}")
done
names=() pids=() readies=() limits=() paths=()
while [ $# -gt 0 ]; do
  mkdir -m 700 "$dir/$1" || exit 75
  export "$2=$dir/$1"
  names+=("$1") limits+=("$3") paths+=("$4") readies+=("$6")
  commands+=("$5")
  shift 6
done
within() { # the number of a service, a command
  PIKACI_SERVICE_DIR=$dir/${names[$1]} PATH=${paths[$1]:+${paths[$1]}:}$PATH \
    "${plain[@]}" --noprofile --norc -c "$2" </dev/null >>"$logs/${names[$1]}.log" 2>&1
}
for i in "${!names[@]}"; do
  PIKACI_SERVICE_DIR=$dir/${names[i]} PATH=${paths[i]:+${paths[i]}:}$PATH \
    "${plain[@]}" --noprofile --norc -c "${commands[i]}" </dev/null >"$logs/${names[i]}.log" 2>&1 &
  pids+=("$!")
done
end() {
  kill -TERM "${pids[@]}" 2>/dev/null
  { sleep 5 && kill -KILL "${pids[@]}"; } >/dev/null 2>&1 &
  wait "${pids[@]}" 2>/dev/null
  kill "$!" 2>/dev/null
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
  began=$SECONDS pause=0.01
  until within "$i" "${readies[i]}"; do
    if ! kill -0 "${pids[i]}" 2>/dev/null; then
      wait "${pids[i]}"
      fail died "$i" "$?"
    fi
    [ $((SECONDS - began)) -lt "${limits[i]}" ] || fail not_ready "$i" "${limits[i]}"
    sleep "$pause"
    case $pause in 0.01) pause=0.02 ;; 0.02) pause=0.05 ;; 0.05) pause=0.1 ;; *) pause=0.25 ;; esac
  done
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
