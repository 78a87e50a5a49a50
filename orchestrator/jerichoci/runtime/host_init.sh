# The first process of a job on a host: mounts the workspace, runs the command as a group of its
# own, hands on TERM, and ends with the command's status. Where it is PID 1 of a namespace, what the
# command left running ends with it.
#
# $1 overlay | read_only | made   what becomes the workspace; `made`: it is there
# $2 namespace | group            whether this is PID 1 of a namespace
# $3 the snapshot, $4 the directory with upper, work, workspace: relative to the working directory
# $5 further overlay options
# $6 the command; what follows runs it
mode=$1 scope=$2 snapshot=$3 root=$4 options=$5 command=$6
shift 6
case $mode in
  overlay)
    mount -t overlay overlay \
      -o "lowerdir=$snapshot,upperdir=$root/upper,workdir=$root/work$options" "$root/workspace" ;;
  read_only)
    mount --bind "$snapshot" "$root/workspace" && mount -o remount,bind,ro "$root/workspace" ;;
esac || exit 125
: > "$root/started" || exit 125
cd "$root/workspace" || exit 125
if [ "$scope" = namespace ]; then
  set -m
  trap 'kill -TERM -1' TERM
else
  trap : TERM
fi
"$@" bash --noprofile --norc -c "$command" </dev/null &
job=$!
exec >/dev/null 2>&1
while :; do
  wait "$job"
  status=$?
  kill -0 "$job" || break
done
exit "$status"
