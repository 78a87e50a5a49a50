{
  description = "CI that is the same on a laptop and in the forge, for people who use Nix";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  # `lib` and `pikaci` use builtins only: looking at them fetches no input.
  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "aarch64-darwin"
      ];
      lib = import ./nix/lib;
      eachSystem =
        make:
        builtins.listToAttrs (
          map (system: {
            name = system;
            value = make system nixpkgs.legacyPackages.${system};
          }) systems
        );
    in
    {
      inherit lib;

      pikaci = lib.mkCatalog {
        inherit systems;
        lanes = ./ci/forge-lanes.toml;
        targets = import ./nix/ci;
      };

      packages = eachSystem (
        system: pkgs: {
          default = self.packages.${system}.pikaci;
          pikaci = pkgs.callPackage ./nix/package.nix { };
        }
      );

      apps = eachSystem (
        system: _: {
          default = self.apps.${system}.pikaci;
          pikaci = {
            type = "app";
            program = "${self.packages.${system}.pikaci}/bin/pikaci";
            meta.description = "Runs this flake's targets";
          };
        }
      );

      checks = eachSystem (system: _: { inherit (self.packages.${system}) pikaci; });
    };
}
