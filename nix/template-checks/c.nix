# What runs on every change. `pikaci plan check --graph` shows the plan.
{ pkgs, ... }:
{
  title = "check";
  description = "Compiles each source";
  trigger = "branch"; # needs a lane in forge-lanes.toml

  prepare.tools.drv = pkgs.stdenv.cc;

  jobs.compile = {
    needs = [ "tools" ];
    # With a Makefile, this would be `make && make check`.
    command = ''
      find . -name '*.c' -print0 | xargs -0 -n 1 "$PIKACI_INPUT_TOOLS/bin/cc" -Wall -c -o /dev/null
    '';
    timeoutSecs = 600;
  };
}
