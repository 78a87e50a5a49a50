# One check a file, each a function of `self`, `system` and `pkgs`.
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
