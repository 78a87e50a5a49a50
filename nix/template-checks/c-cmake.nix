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
      pkgs.cmake
      pkgs.gnumake
    ];
  };

  jobs.test = {
    needs = [ "tools" ];
    command = ''
      set -euo pipefail
      PATH=$PIKACI_INPUT_TOOLS/bin:$PATH
      cmake -S . -B build
      cmake --build build
      ctest --test-dir build --output-on-failure
    '';
    timeoutSecs = 600;
  };
}
