# The smallest target with a prepared output: a derivation that needs no nixpkgs, and a job that reads its output.
system: {
  title = "hello";
  description = "Builds a greeting with Nix and prints it";
  prepare.greeting = {
    description = "A greeting";
    timeoutSecs = 300;
    drv = derivation {
      name = "greeting";
      inherit system;
      builder = "/bin/sh";
      args = [
        "-c"
        "echo \"Hello from a derivation for $system\" > $out"
      ];
    };
  };
  jobs.greet = {
    description = "Prints the greeting and keeps a copy";
    needs = [ "greeting" ];
    command = ''
      set -euo pipefail
      cat "$PIKACI_INPUT_GREETING"
      cp "$PIKACI_INPUT_GREETING" "$PIKACI_ARTIFACTS/greeting.txt"
    '';
    timeoutSecs = 60;
  };
}
