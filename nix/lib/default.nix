# The catalog library. Builtins only: evaluating a catalog needs no nixpkgs and no network.
{
  matrix = import ./matrix.nix;
  mkCatalog = import ./catalog.nix;
  inherit (import ./merge.nix) mergeTargets;
  inherit (import ./staged-rust.nix) stagedRust;

  # Not part of the catalog: builds a Rust workspace with the caller's nixpkgs and crane, for stagedRust.
  appleRust = import ../ci/apple-rust.nix;
  linuxRust = import ../ci/linux-rust.nix;
}
