# One file for each check.
{
  self,
  system,
  pkgs,
}@arguments:
{
  inherit (self.packages.${system}) forge pikaci;
  unit-tests = pkgs.callPackage ./unit-tests.nix { };
  catalog = import ./catalog.nix arguments;
  invariants = import ./invariants.nix {
    inherit pkgs;
    src = self;
  };
  dev-shell = self.devShells.${system}.default;
  overlay = import ./overlay.nix arguments;
  apple-rust = import ./staged-rust.nix {
    inherit system pkgs;
    kind = "apple-rust";
  };
  staged-rust = import ./staged-rust.nix { inherit system pkgs; };
}
