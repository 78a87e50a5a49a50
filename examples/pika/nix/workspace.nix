# The Rust workspace in two stages, as fakes that need no nixpkgs: this example is only planned.
#
# A real one is built by the library, with nixpkgs and crane of the flake's inputs:
#
#   { "x86_64-linux" = lib.linuxRust; "aarch64-darwin" = lib.appleRust; }.${system} {
#     pkgs = nixpkgs.legacyPackages.${system};
#     craneLib = crane.mkLib nixpkgs.legacyPackages.${system};
#     src = craneLib.cleanCargoSource ../.;
#     cargoLock = ../Cargo.lock;
#     wrappers.rmp-init-smoke = "run-rmp-cli init_smoke";
#   }
system:
let
  standIn =
    name:
    derivation {
      inherit name system;
      builder = "/bin/sh";
      args = [
        "-c"
        "echo stands in for ${name} > $out"
      ];
    };
in
{
  kind =
    {
      x86_64-linux = "linux-rust";
      aarch64-darwin = "apple-rust";
    }
    .${system};
  workspaceDeps = standIn "pika-workspace-deps";
  workspaceBuild = standIn "pika-workspace-tests";
}
