{
  description = "CI that is the same on a laptop and on a CI server, for people who use Nix";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  # `lib` and `pikaci` use builtins only: evaluating them fetches no input.
  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "aarch64-darwin"
      ];
      plain = import ./nix/lib;
      lib = plain // {
        mkCatalog = args: plain.mkCatalog (if builtins.isAttrs args then { inherit nixosImage; } // args else args);
      };
      eachSystem =
        make:
        builtins.listToAttrs (
          map (system: {
            name = system;
            value = make system nixpkgs.legacyPackages.${system};
          }) systems
        );

      nixosImage =
        system: modules:
        nixpkgs.legacyPackages.${system}.callPackage ./nix/incus/image-package.nix {
          inherit modules;
          inherit (nixpkgs.lib) nixosSystem;
          instanceType = "container";
        };

      # Guests are Linux, and built on Linux.
      imagesFor =
        system: pkgs:
        let
          image =
            instanceType:
            pkgs.callPackage ./nix/incus/image-package.nix {
              inherit instanceType;
              inherit (nixpkgs.lib) nixosSystem;
            };
        in
        if builtins.match ".*-linux" system == null then
          { }
        else
          {
            incus-image = image "virtual-machine";
            incus-image-container = image "container";
          };
    in
    {
      inherit lib;

      pikaci = lib.mkCatalog {
        inherit systems;
        lanes = ./ci/forge-lanes.toml;
        targets = import ./nix/ci;
        images.pikaci-runner = {
          inherit ((import ./nix/incus/roles.nix).pikaci-runner) alias;
          instanceType = "container";
          package = system: self.packages.${system}.incus-image-container;
        };
      };

      packages = eachSystem (
        system: pkgs: {
          default = self.packages.${system}.pikaci;
          pikaci = pkgs.callPackage ./nix/package-here.nix { };
          forge = pkgs.callPackage ./nix/package-here.nix { withForge = true; };
        }
        // imagesFor system pkgs
      );

      apps = eachSystem (
        system: _: {
          default = self.apps.${system}.pikaci;
          pikaci = {
            type = "app";
            program = "${self.packages.${system}.pikaci}/bin/pikaci";
            meta.description = "Runs targets";
          };
        }
      );

      checks = eachSystem (system: pkgs: import ./nix/checks { inherit self system pkgs; });
      devShells = eachSystem (_: pkgs: { default = pkgs.callPackage ./nix/shell.nix { }; });
      formatter = eachSystem (_: pkgs: pkgs.nixfmt-tree);
      overlays.default = import ./nix/overlay.nix;

      nixosModules = {
        default = ./nix/modules;
        incus-host = ./nix/modules/incus-host.nix;
        guest = ./nix/modules/guest.nix;
      };

      flakeModules.default = ./nix/flake-module.nix;

      templates.default = {
        path = ./nix/template;
        description = "A repository with a target, run by pikaci";
      };
    };
}
