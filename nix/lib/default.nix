# The catalog library. Builtins only: evaluating a catalog needs no nixpkgs and no network.
{
  mkCatalog = import ./catalog.nix;
}
