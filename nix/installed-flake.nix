# The flake that an installed pikaci brings, for a flake that refers to no repository of pikaci's: its library, without the
# package. In a wheel it lies beside flake.lock and the parts of this directory that pyproject.toml names.
{
  description = "The library of an installed pikaci";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = _: {
    apps = { }; # `nix run .#pikaci` is for flakes that refer to a repository
    lib = import ./nix/lib;
    flakeModules.default = ./nix/flake-module.nix;
  };
}
