# An image that a host has for its guests.
{ lib }:
let
  inherit (lib)
    mkDefault
    mkIf
    mkOption
    types
    ;
in
types.submodule (
  { config, name, ... }:
  {
    options = {
      alias = mkOption {
        type = types.strMatching "[A-Za-z0-9][A-Za-z0-9._/-]*";
        default = name;
        defaultText = lib.literalExpression "the attribute's name";
        example = "pikaci/dev";
        description = "The alias that `images.<role>.alias` of a catalog names.";
      };

      package = mkOption {
        type = types.nullOr types.package;
        default = null;
        example = lib.literalExpression "inputs.pikaci.packages.\${pkgs.system}.incus-image-container";
        description = ''
          A package with `metadata.tar.xz` and `rootfs.squashfs` (a container's) or `disk.qcow2` (a VM's). Or say where
          the two files are with `metadata` and `rootfs`.
        '';
      };

      kind = mkOption {
        type = types.enum [
          "container"
          "virtual-machine"
        ];
        default = "virtual-machine";
        description = "What the image is for. It tells which file of `package` is the root file system.";
      };

      metadata = mkOption {
        type = types.path;
        defaultText = lib.literalExpression ''"''${package}/metadata.tar.xz"'';
        example = "/var/lib/images/metadata.tar.xz";
        description = "The image's metadata.";
      };

      rootfs = mkOption {
        type = types.path;
        defaultText = lib.literalExpression ''"''${package}/disk.qcow2", or rootfs.squashfs for a container'';
        example = "/var/lib/images/rootfs.squashfs";
        description = "The image's root file system.";
      };

      builtFrom = mkOption {
        type = types.nullOr types.str;
        default = if config.package == null then null else builtins.unsafeDiscardStringContext config.package.drvPath;
        defaultText = lib.literalExpression "package.drvPath";
        description = ''
          What the image is known by besides its alias: its property `user.pikaci.drv`. An image with that property is
          not imported again. With null the contents decide, which takes reading them at each start.
        '';
      };
    };

    config = mkIf (config.package != null) {
      metadata = mkDefault "${config.package}/metadata.tar.xz";
      rootfs = mkDefault "${config.package}/${
        if config.kind == "container" then "rootfs.squashfs" else "disk.qcow2"
      }";
    };
  }
)
