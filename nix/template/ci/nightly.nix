# For jobs that take too long to run on every change.
{
  title = "nightly";
  description = "Runs once a night";
  trigger = "nightly";
  jobs.count = {
    description = "Lists the files of this repository";
    command = ''
      set -euo pipefail
      find . -type f | sort > "$PIKACI_ARTIFACTS/files.txt"
      wc -l < "$PIKACI_ARTIFACTS/files.txt"
    '';
    timeoutSecs = 600;
    retries.test = 1; # retry once if the command fails
  };
}
