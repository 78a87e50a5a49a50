# The overlay has the flake's own package.
{
  self,
  system,
  pkgs,
}:
let
  inherit (pkgs.extend self.overlays.default) pikaci;
in
assert pikaci.drvPath == self.packages.${system}.pikaci.drvPath;
pikaci
