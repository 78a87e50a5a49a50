# What runs on every change. `pikaci plan check --graph` shows the plan.
{ pkgs, ... }:
{
  title = "check";
  description = "Builds the program and runs the tests";
  trigger = "branch"; # needs a lane in forge-lanes.toml

  prepare.tools.drv = pkgs.buildEnv {
    name = "tools";
    paths = [
      pkgs.stdenv.cc
      pkgs.gnumake
    ];
  };

  jobs.test = {
    needs = [ "tools" ];
    # `make check` or `make test`, whichever the Makefile has.
    command = ''
      set -euo pipefail
      PATH=$PIKACI_INPUT_TOOLS/bin:$PATH
      make
      for goal in check test; do
        if make -n "$goal" >/dev/null 2>&1; then
          make "$goal"
          break
        fi
      done
    '';
    timeoutSecs = 600;
  };
}
