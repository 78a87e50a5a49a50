# The catalog library. Builtins only: evaluating a catalog needs no nixpkgs and no network.
{
  mkCatalog = import ./catalog.nix;
  inherit (import ./merge.nix) mergeTargets;
  inherit (import ./staged-rust.nix) stagedRust;

  # Not of the catalog: a build of a Rust workspace with the caller's nixpkgs and crane, for stagedRust.
  linuxRust = import ../ci/linux-rust.nix;
}
