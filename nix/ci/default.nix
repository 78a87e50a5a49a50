# This repository's own targets.
system: {
  hello = import ./hello.nix system;
  hello-guest = import ./hello-guest.nix system;
  check-orchestrator = import ./check-orchestrator.nix;
  check-forge = import ./check-forge.nix;
  check-nix = import ./check-nix.nix;
  check-incus = import ./check-incus.nix;
  check-remote = import ./check-remote.nix;
  check-tart = import ./check-tart.nix;
}
