# What runs on every change. `pikaci plan check --graph` shows the plan.
{ pkgs, ... }:
{
  title = "check";
  description = "Runs the tests";
  trigger = "branch"; # needs a lane in forge-lanes.toml

  prepare.nodejs.drv = pkgs.nodejs;

  jobs.test = {
    needs = [ "nodejs" ];
    command = ''
      set -euo pipefail
      PATH=$PIKACI_INPUT_NODEJS/bin:$PATH
      if [ -e package-lock.json ]; then npm ci; fi
      npm run test --if-present
    '';
    timeoutSecs = 600;
  };
}
