#!/usr/bin/env bash
# Run the project's own lanes through pikaci itself, or those that LANES names. All of them run; any that fails fails this.
# The last lines are where the records lie and what pytest itself said at the end of each job's log.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

lanes=(check-nix check-orchestrator check-incus check-remote check-tart)
[ -z "${LANES:-}" ] || read -ra lanes <<<"$LANES"
cd "$root"
export PATH=$venv/bin:$PATH
# Jobs have nothing of our PATH: their tools are those of this checkout, and the Nix that was found.
PIKACI_HOSTS_FILE=$(mktemp)
export PIKACI_HOSTS_FILE
trap 'rm -f "$PIKACI_HOSTS_FILE"' EXIT
printf '[local]\nsearch_path = ["%s", "%s"]\n' "$venv/bin" "$(dirname "$(command -v nix)")" >"$PIKACI_HOSTS_FILE"

new_run_id() { printf '%s-%s\n' "$(date -u +%Y%m%dT%H%M%SZ)" "$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')"; }

run_directory() {
  find "${PIKACI_STATE_ROOT:-${XDG_STATE_HOME:-$HOME/.local/state}/pikaci}" -maxdepth 3 -type d -path "*/runs/$1" -print -quit 2>/dev/null
}

job_ids() { pikaci status "$1" --json | python -c 'import json, sys; print(*(j["id"] for j in json.load(sys.stdin)["jobs"]), sep="\n")'; }

# The last line of a log that is a pytest summary, as it is: "=== 12 passed in 0.10s ===" or, with -q, without the rules.
pytest_closing_line() { grep -E '[0-9]+ (passed|failed|errors?|skipped|deselected|xfailed|xpassed)\b.* in [0-9.]+s|no tests ran in ' | tail -n 1; }

failed=()
runs=()
# Interrupted, there is nothing to sum up: the record of the run says how far it came.
trap 'exit 130' INT TERM
for lane in "${lanes[@]}"; do
  run=$(new_run_id)
  runs+=("$run")
  code=0
  pikaci run "$lane" -L --run-id "$run" || code=$?
  [ "$code" -eq 130 ] && exit 130
  [ "$code" -eq 0 ] || failed+=("$lane")
done

echo
for run in "${runs[@]}"; do echo "records: $(run_directory "$run")"; done
[ ${#failed[@]} -eq 0 ] || echo "failed: ${failed[*]}"
for run in "${runs[@]}"; do
  { job_ids "$run" || true; } | while read -r job; do
    pikaci logs "$run" --job "$job" --kind both </dev/null | pytest_closing_line || true
  done
done
[ ${#failed[@]} -eq 0 ]
