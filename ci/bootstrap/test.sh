#!/usr/bin/env bash
# Run the project's own lanes through pikaci itself, or those that LANES names, in one command: as many jobs at a time as
# the machine has CPUs. Its exit code is this one's. The last lines are where the records lie and what pytest itself
# printed at the end of each job's log.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Tests of hosts and guests mostly wait, those of the orchestrator compute: one of each kind first, which go well together.
lanes=(check-remote check-orchestrator check-forge check-incus check-tart check-nix)
[ -z "${LANES:-}" ] || read -ra lanes <<<"$LANES"
cd "$root"
export PATH=$venv/bin:$PATH
# Jobs have nothing of our PATH: their tools are those of this checkout, and the Nix that was found.
PIKACI_HOSTS_FILE=$(mktemp)
export PIKACI_HOSTS_FILE
making=''
stop_making() { [ -z "$making" ] || kill -TERM -- "-$making" 2>/dev/null || true; }
trap 'stop_making; rm -f "$PIKACI_HOSTS_FILE"' EXIT
printf '[local]\nsearch_path = ["%s", "%s"]\n' "$venv/bin" "$(dirname "$(command -v nix)")" >"$PIKACI_HOSTS_FILE"

new_id() { printf '%s-%s\n' "$(date -u +%Y%m%dT%H%M%SZ)" "$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')"; }

# A line for each run of an id, or for each job with its run.
run_ids() { records "$1" 'print(run["run_id"])'; }
job_ids() { records "$1" 'for job in run["jobs"]: print(run["run_id"], job["id"])'; }
records() {
  pikaci status "$1" --json | python -c "import json, sys
found = json.load(sys.stdin)
for run in found.get('runs', [found]):
  $2"
}

run_directory() {
  find "${PIKACI_STATE_ROOT:-${XDG_STATE_HOME:-$HOME/.local/state}/pikaci}" -maxdepth 3 -type d -path "*/runs/$1" -print -quit 2>/dev/null
}

# The last line of a log that is a pytest summary, as it is: "=== 12 passed in 0.10s ===" or, with -q, without the rules.
pytest_closing_line() { grep -E '[0-9]+ (passed|failed|errors?|skipped|deselected|xfailed|xpassed)\b.* in [0-9.]+s|no tests ran in ' | tail -n 1; }

# Interrupted, there is nothing to sum up: the records of the runs say how far they came.
interrupt() {
  kill -INT "$running" 2>/dev/null || true
  stop_making
  wait
  exit 130
}
set -m # a process of the background ignores SIGINT otherwise
if [[ " ${lanes[*]} " =~ -(incus|remote)\  ]] && [ "$(id -u)" = 0 ]; then
  # Making it takes a minute, for which tests of guests would wait; they are for root alone.
  {
    "$root/nix/incus/debian-guest.sh" &&
      "$root/nix/incus/debian-guest.sh" --packages "$(cat "$root/tests/incus/debian-packages")"
  } >/dev/null &
  making=$!
fi
id=$(new_id)
pikaci run "${lanes[@]}" -L --run-id "$id" </dev/null &
running=$!
trap interrupt INT TERM
code=0
wait "$running" || code=$?

echo
for run in $(run_ids "$id"); do echo "records: $(run_directory "$run")"; done
{ job_ids "$id" || true; } | while read -r run job; do
  pikaci logs "$run" --job "$job" --kind both </dev/null | pytest_closing_line || true
done
exit "$code"
