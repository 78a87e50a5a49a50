# The first process of a job on a host: mounts the workspace, runs the command as a group of its
# own, hands on TERM, and ends with the command's status. Where it is PID 1 of a namespace, what the
# command left running ends with it.
#
# $1 overlay | read_only | made   what becomes the workspace; `made`: it is there
# $2 namespace | group            whether this is PID 1 of a namespace
# $3 the snapshot, $4 the directory with upper, work, workspace: relative to the working directory
# $5 further overlay options
# $6 a shell text that sets up the rest of the job's world, before anything of it runs
# $7 the command; what follows runs it, and gives it its environment, of which this shell has nothing
#
# Standard input is a file that the command doesn't have, for what `placement.local.Report` reads:
# `started` and `ended` with the seconds since the boot, and what bash knows of the command's end.
case $1 in
  overlay)
    mount -t overlay overlay \
      -o "lowerdir=$3,upperdir=$4/upper,workdir=$4/work$5" "$4/workspace" &&
      # A root's snapshot that is still the guests' user's: see `idmap`.
      { [ -O "$3" ] || chown -hR 0:0 "$4/workspace"; } ;;
  read_only)
    mount --bind "$3" "$4/workspace" && mount -o remount,bind,ro "$4/workspace" ;;
esac || exit 125
eval "$6"
cd "$4/workspace" || exit 125
told=
if [ "$2" = namespace ]; then
  set -m
  trap 'told=1; kill -TERM -1' TERM
else
  trap : TERM
  # Sent when the orchestrator dies: nothing else would end the group.
  trap 'kill -KILL 0' USR1
  # Without job control bash has what it starts in the background ignore these.
  env --default-signal=INT,QUIT true 2>/dev/null &&
    set -- "${@:1:7}" env --default-signal=INT,QUIT "${@:8}"
fi
# What bash itself has to say of its jobs is not for the log.
exec 3>&1 4>&2 >/dev/null 2>&1
{ read -r now _ </proc/uptime; } 2>/dev/null
echo "started $now" >&0 || exit 125
# A shell's own status doesn't tell a signal from an exit with 128 and its number.
trap 'jobs -n >&0' CHLD
"${@:8}" "$BASH" --noprofile --norc -c "$7" </dev/null >&3 2>&4 3>&- 4>&- &
job=$!
[ -z "$told" ] || kill -TERM -1 # it came before there was a job
exec 3>&- 4>&-
LC_ALL=C
# The command is in this group and hears it. A `wait` that is interrupted there loses the status.
[ "$2" = namespace ] || trap '' TERM
while :; do
  told=
  wait "$job"
  code=$?
  # 127 after another answer: it has ended, and another process may have its number.
  [ "$code" -eq 127 ] && [ -n "$status" ] && break
  status=$code
  [ -z "$told" ] || continue
  kill -0 "$job" || break
  # A job that is stopped has not ended: with job control `wait` says so at once, over and over.
  sleep 0.2
done
{ read -r now _ </proc/uptime; } 2>/dev/null
echo "ended $now" >&0
exit "$status"
