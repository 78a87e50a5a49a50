# One prepare and two jobs. `pikaci plan check --graph` shows the plan.
{ system, ... }:
{
  title = "check";
  description = "Runs on every change";
  trigger = "branch"; # needs a lane in forge-lanes.toml

  # Nix builds this once, before the jobs that need it. It can be any package: with the argument `pkgs`, pkgs.jq.
  prepare.words.drv = derivation {
    name = "words";
    inherit system;
    builder = "/bin/sh";
    args = [
      "-c"
      "echo Hello from $system > $out"
    ];
  };

  jobs = {
    build = {
      description = "Uses the prepared output";
      needs = [ "words" ];
      command = ''
        set -euo pipefail
        tr a-z A-Z < "$PIKACI_INPUT_WORDS" | tee loud.txt
        cp loud.txt "$PIKACI_ARTIFACTS/" # kept in the run's record
      '';
      timeoutSecs = 120;
    };

    # Starts after `build` has passed, in its own workspace: a fresh copy of your tree.
    test = {
      description = "Waits for the job `build`";
      needs = [ "build" ];
      command = "test -e flake.nix && test ! -e loud.txt";
      timeoutSecs = 120;
    };
  };
}
