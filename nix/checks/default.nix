# One check a file. The catalog's needs no nixpkgs, nor do the staged builds'.
{
  self,
  system,
  pkgs,
}@arguments:
{
  inherit (self.packages.${system}) pikaci;
  inherit (self.packages.${system}.pikaci.tests) unit-tests;
  catalog = import ./catalog.nix arguments;
  dev-shell = self.devShells.${system}.default;
  overlay = import ./overlay.nix arguments;
}
