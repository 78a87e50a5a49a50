# One target a file. Those of Linux share two prepare nodes: the workspace is compiled once, whichever of them run.
{ lib }:
system:
let
  linux = {
    staged =
      attributes:
      lib.stagedRust (
        import ../nix/workspace.nix system
        // {
          staging.timeoutSecs = 5400;
          # Any machine with an Incus that has this label.
          job = {
            placement = "remote_ssh";
            labels = [ "linux-builder" ];
            runtime = "incus";
            incus.role = "linux-runner";
            timeoutSecs = 1800;
          };
          snapshot.exclude = [
            "ios/**"
            "macos/**"
            "docs/**"
          ];
        }
        // attributes
      );
  };
  apple = {
    host = {
      placement = "remote_ssh";
      labels = [ "mac-host" ];
      runtime = "host_process";
    };
    tart = {
      placement = "local";
      runtime = "tart";
      tart = {
        base = "sequoia-xcode";
        mountHostToolchain = true;
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
    nightly-apple-ui = ./nightly-apple-ui.nix;
  };
}
.${system}
