# One prepare and two jobs. Look at the plan with `pikaci plan check --graph`.
system: {
  title = "check";
  description = "Runs on every change";
  trigger = "branch"; # so it has a lane in forge-lanes.toml

  # Made by Nix before the jobs run, once for all who need it. With nixpkgs among the flake's inputs, a package of yours
  # goes here, or nixpkgs.legacyPackages.${system}.jq.
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
      description = "Uses what was prepared";
      needs = [ "words" ];
      command = ''
        set -euo pipefail
        tr a-z A-Z < "$PIKACI_INPUT_WORDS" | tee loud.txt
        cp loud.txt "$PIKACI_ARTIFACTS/" # kept with the run's records
      '';
      timeoutSecs = 120;
    };

    # Starts when `build` has passed, in a workspace of its own: a fresh copy of your tree.
    test = {
      description = "Waits for the job `build`";
      needs = [ "build" ];
      command = "test -e flake.nix && test ! -e loud.txt";
      timeoutSecs = 120;
    };
  };
}
