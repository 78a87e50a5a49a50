# What runs on every change. `pikaci plan check --graph` shows the plan.
# Each run compiles all. To have Nix keep what is compiled: pikaci.lib.stagedRust, in pikaci's docs/staged-rust.md.
{ pkgs, ... }:
{
  title = "check";
  description = "Builds the crate and runs the tests";
  trigger = "branch"; # needs a lane in forge-lanes.toml

  # With the libraries that the crate links, and pkg-config, if it needs some.
  prepare.rust.drv = pkgs.buildEnv {
    name = "rust";
    paths = [
      pkgs.cargo
      pkgs.rustc
      pkgs.stdenv.cc
    ];
  };

  jobs.test = {
    needs = [ "rust" ];
    command = ''
      PATH=$PIKACI_INPUT_RUST/bin:$PATH
      cargo test
    '';
    timeoutSecs = 1200;
  };
}
