# The Rust workspace in two stages, as stand-ins that need no nixpkgs: only plans are made of this example.
#
# A real one is built by the library, with nixpkgs and crane of the flake's inputs:
#
#   lib.linuxRust {
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
  workspaceDeps = standIn "pika-workspace-deps";
  workspaceBuild = standIn "pika-workspace-tests";
}
