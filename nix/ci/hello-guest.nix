# The smallest target with a guest: a derivation that needs no nixpkgs, and a job that reads it in a container of its own.
system: {
  title = "hello-guest";
  description = "Builds a greeting with Nix and prints it in an Incus guest";
  preconditions = [ "Incus on this machine, with the image pikaci/dev" ];
  prepare.greeting = {
    description = "A greeting";
    timeoutSecs = 300;
    drv = derivation {
      name = "guest-greeting";
      inherit system;
      builder = "/bin/sh";
      args = [
        "-c"
        "echo \"Hello from a derivation for $system\" > $out"
      ];
    };
  };
  jobs.greet = {
    description = "Prints the greeting, says where it is and keeps a copy";
    runtime = "incus";
    incus.role = "pikaci-runner";
    needs = [ "greeting" ];
    command = ''
      set -euo pipefail
      cat "$PIKACI_INPUT_GREETING"
      uname -srmn
      id
      cp "$PIKACI_INPUT_GREETING" "$PIKACI_ARTIFACTS/greeting.txt"
    '';
    resources = {
      cpus = 1;
      memoryMib = 512;
    };
    timeoutSecs = 60;
  };
}
