# Stands in for a NixOS system of which images are made: whatever its modules are, files of the right names with no system
# in them.
{ system, modules }:
assert builtins.isList modules;
let
  inherit (import ./build.nix system) build;
  file = path: build "image" "mkdir -p $(dirname $out/${path}); echo 'no image' > $out/${path}" { };
in
{
  config.system.build = {
    metadata = file "tarball/nixos-image.tar.xz";
    squashfs = file "nixos-image.squashfs";
    qemuImage = file "nixos.qcow2";
  };
}
