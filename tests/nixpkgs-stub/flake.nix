# Stands in for nixpkgs where there is no network and no binary cache: with
# `--override-input nixpkgs path:./tests/nixpkgs-stub` the outputs of this repository's flake evaluate and build.
# It has the attributes that they use and no others. What it makes is no substitute for the real thing: programs are
# links to the machine's own, a Python application is its sources run by the `python3` on PATH, and no build hook runs,
# so that no Python test does either. Nix's sandbox must be off.
{
  description = "A stand-in for nixpkgs, for tests";

  outputs =
    { self }:
    {
      lib = import ./lib.nix // {
        nixosSystem = import ./nixos.nix;
      };
      legacyPackages = builtins.listToAttrs (
        map (system: {
          name = system;
          value = import ./packages.nix {
            inherit system;
            inherit (self) lib;
          };
        }) self.lib.systems.flakeExposed
      );
    };
}
