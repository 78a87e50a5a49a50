# One target a file. Those that are staged share two prepare nodes: a system's workspace is compiled once, whichever of them
# run.
{ lib }:
system:
let
  stagedWith =
    shared: attributes:
    lib.stagedRust (
      import ../nix/workspace.nix system
      // {
        snapshot.exclude = [
          "ios/**"
          "macos/**"
          "docs/**"
        ];
      }
      // shared
      // attributes
    );

  linux.staged = stagedWith {
    staging.timeoutSecs = 5400;
    # Any machine with an Incus that has this label.
    job = {
      placement = "remote_ssh";
      labels = [ "linux-builder" ];
      runtime = "incus";
      incus.role = "linux-runner";
      timeoutSecs = 1800;
    };
  };

  # Any Mac with Tart that has this label.
  macs = {
    placement = "remote_ssh";
    labels = [ "mac-vms" ];
  };
  base = "sequoia-xcode";

  apple = {
    inherit base macs;
    host = {
      placement = "remote_ssh";
      labels = [ "mac-host" ];
      runtime = "host_process";
    };
    # On the Mac that pikaci runs on: a developer's own, or the CI server's.
    tart = {
      placement = "local";
      runtime = "tart";
      tart = { inherit base; };
    };
    # Made by the Macs, and kept there: a Linux machine can plan and start it, and has nothing of it to build.
    staged = stagedWith {
      staging = macs // {
        residency = "remote";
        timeoutSecs = 5400;
      };
      job = macs // {
        runtime = "tart";
        tart = { inherit base; };
        timeoutSecs = 1800;
      };
    };
  };
  load = arguments: file: import file arguments;
in
{
  x86_64-linux = builtins.mapAttrs (_: load linux) {
    pre-merge-agent-contracts = ./pre-merge-agent-contracts.nix;
    pre-merge-pika-rust = ./pre-merge-pika-rust.nix;
    pre-merge-notifications = ./pre-merge-notifications.nix;
    pre-merge-pikachat-rust = ./pre-merge-pikachat-rust.nix;
    pre-merge-pikachat-typescript = ./pre-merge-pikachat-typescript.nix;
    pre-merge-pikachat-openclaw-e2e = ./pre-merge-pikachat-openclaw-e2e.nix;
    pre-merge-pika-followup = ./pre-merge-pika-followup.nix;
    pre-merge-fixture-rust = ./pre-merge-fixture-rust.nix;
    pre-merge-rmp = ./pre-merge-rmp.nix;
    nightly-linux = ./nightly-linux.nix;
  };
  aarch64-darwin = builtins.mapAttrs (_: load apple) {
    apple-host-sanity = ./apple-host-sanity.nix;
    apple-desktop = ./apple-desktop.nix;
    pre-merge-apple-ios = ./pre-merge-apple-ios.nix;
    pre-merge-apple-rust = ./pre-merge-apple-rust.nix;
    nightly-apple-ui = ./nightly-apple-ui.nix;
  };
}
.${system}
