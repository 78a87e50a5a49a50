# An image of a role as Incus imports it: metadata.tar.xz, and a container's rootfs.squashfs or a VM's disk.qcow2.
#
# With packages of your own in it: `incus-image-container.override { modules = [ { pikaci.guest.packages = .. } ]; }`.
{
  lib,
  stdenv,
  runCommandLocal,
  nixosSystem,
  instanceType,
  role ? "pikaci-runner",
  modules ? [ ],
}:
let
  roles = import ./roles.nix;
  inherit (roles.${role}) description diskSize;

  nixos = nixosSystem {
    inherit (stdenv.hostPlatform) system;
    modules = [ kind.module ] ++ roles.${role}.modules ++ modules;
  };
  inherit (nixos.config.system) build;

  kind =
    {
      container = {
        name = "incus-image-container";
        rootfs = "rootfs.squashfs";
        found = "${build.squashfs}/*.squashfs";
        module =
          { modulesPath, ... }:
          {
            imports = [ (modulesPath + "/virtualisation/lxc-container.nix") ];
          };
      };
      virtual-machine = {
        name = "incus-image";
        rootfs = "disk.qcow2";
        found = "${build.qemuImage}/*.qcow2";
        module =
          {
            config,
            modulesPath,
            pkgs,
            ...
          }:
          {
            imports = [ (modulesPath + "/virtualisation/incus-virtual-machine.nix") ];
            # As there, with a size.
            system.build.qemuImage = lib.mkForce (
              import (modulesPath + "/../lib/make-disk-image.nix") {
                inherit
                  config
                  diskSize
                  lib
                  pkgs
                  ;
                partitionTableType = "efi";
                format = "qcow2-compressed";
                copyChannel = false;
              }
            );
          };
      };
    }
    .${instanceType};
in
runCommandLocal "${kind.name}-${role}"
  {
    passthru = { inherit nixos; };
    meta = {
      inherit description;
      platforms = [
        "x86_64-linux"
        "aarch64-linux"
      ];
    };
  }
  ''
    mkdir $out
    ln -s ${build.metadata}/tarball/*.tar.xz $out/metadata.tar.xz
    ln -s ${kind.found} $out/${kind.rootfs}
    test -f $out/metadata.tar.xz -a -f $out/${kind.rootfs}
  ''
