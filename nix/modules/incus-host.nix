# A machine on which pikaci's jobs run in Incus guests. Of its 400 lines, half are options with the descriptions from
# which docs/nixos-options.md is made; what they configure is read with them.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib)
    mkDefault
    mkEnableOption
    mkIf
    mkOption
    types
    ;
  cfg = config.pikaci.incusHost;
  incus = config.virtualisation.incus;

  # Incus expects every setting as text.
  settings = types.attrsOf (
    types.coercedTo (types.oneOf [
      types.bool
      types.int
    ]) (value: if builtins.isBool value then lib.boolToString value else toString value) types.str
  );
  present = lib.filterAttrs (_: value: value != null);
  text = lib.mapAttrs (_: toString);

  importImages = pkgs.writeShellApplication {
    name = "pikaci-import-images";
    runtimeInputs = [
      incus.clientPackage
      pkgs.coreutils
      pkgs.jq
    ];
    text = ''
      ${builtins.readFile ./import-image.sh}
      ${lib.concatMapStringsSep "\n" (
        image:
        lib.escapeShellArgs [
          "import_image"
          cfg.project.name
          image.alias
          "${image.metadata}"
          "${image.rootfs}"
          (if image.builtFrom == null then "" else image.builtFrom)
        ]
      ) (lib.attrValues cfg.images)}
    '';
  };

  secrets = lib.attrNames cfg.secretSettings;
  setSecrets = pkgs.writeShellApplication {
    name = "pikaci-set-incus-secrets";
    runtimeInputs = [
      incus.package
      pkgs.jq
    ];
    # On stdin: every user of the machine can read command lines.
    text = lib.concatMapStringsSep "\n" (key: ''
      jq -n --rawfile value "$CREDENTIALS_DIRECTORY"/${lib.escapeShellArg key} \
        --arg key ${lib.escapeShellArg key} '{config: {($key): ($value | rtrimstr("\n"))}}' |
        incus admin init --preseed
    '') secrets;
  };

  # At boot, after a switch with changes, and after a restart of Incus.
  withIncus = [
    "incus.service"
    "multi-user.target"
  ];
  afterIncus = [
    "incus.service"
    "incus-preseed.service"
  ];
in
{
  options.pikaci.incusHost = {
    enable = mkEnableOption ''
      Incus for pikaci's jobs: a storage pool, a bridge, a project with a profile and limits, and the images of its
      guests.

      They are applied by `virtualisation.incus.preseed`, whose other settings stay yours. Incus creates and changes
      what is there and never removes what isn't any more. pikaci reaches Incus by its socket, from other machines
      through ssh: Incus listens on no port'';

    users = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "alice" ];
      description = ''
        Users who may run jobs here. They join the group `incus-admin`, which is as good as being root: who may mount
        any directory into a guest may read and write it.
      '';
    };

    pool = {
      name = mkOption {
        type = types.str;
        default = "pikaci";
        description = "The storage pool's name.";
      };

      driver = mkOption {
        type = types.enum [
          "btrfs"
          "zfs"
        ];
        default = "btrfs";
        description = ''
          The storage driver. Both make a guest from an image without copying it; Incus's `dir` copies, which takes ten
          times as long. ZFS needs `networking.hostId`.
        '';
      };

      source = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "/dev/disk/by-partlabel/incus";
        description = ''
          A block device, which is formatted, a directory on a btrfs file system, or a ZFS dataset. With null it is a
          loop file below `/var/lib/incus`.
        '';
      };

      size = mkOption {
        type = types.nullOr types.str;
        default = if cfg.pool.source == null then "40GiB" else null;
        defaultText = lib.literalExpression ''if source == null then "40GiB" else null'';
        example = "200GiB";
        description = "The loop file's size. A source of its own has its own.";
      };

      settings = mkOption {
        type = settings;
        default = { };
        example = {
          "btrfs.mount_options" = "noatime,compress=zstd:1";
        };
        description = "Further settings of the pool, in Incus's words.";
      };
    };

    bridge = {
      enable = mkOption {
        type = types.bool;
        default = true;
        description = "Whether there is a bridge, for jobs that ask for a network. The others have none.";
      };

      name = mkOption {
        type = types.strMatching "[a-z0-9][a-z0-9_-]{1,14}";
        default = "pikaci0";
        description = "The bridge's name, at most 15 characters.";
      };

      address = mkOption {
        type = types.str;
        default = "10.158.0.1/24";
        description = ''
          The host's IPv4 address on the bridge, and the guests' network. (Incus's `auto` would choose another at each
          start.)
        '';
      };

      settings = mkOption {
        type = settings;
        default = { };
        example = {
          "ipv4.nat" = false;
        };
        description = "Further settings of the bridge, in Incus's words; they come over the module's.";
      };
    };

    project = {
      name = mkOption {
        type = types.strMatching "[A-Za-z0-9][A-Za-z0-9-]*";
        default = "pikaci";
        description = "The Incus project of the guests, their profile and their images.";
      };

      settings = mkOption {
        type = settings;
        default = { };
        example = {
          "limits.processes" = 20000;
        };
        description = "Further settings of the project, in Incus's words; they come over the module's.";
      };
    };

    limits = {
      instances = mkOption {
        type = types.nullOr types.ints.positive;
        default = null;
        example = 16;
        description = "How many guests there may be at a time, or null.";
      };

      cpus = mkOption {
        type = types.nullOr types.ints.positive;
        default = null;
        description = "How many CPUs all guests together may have, or null.";
      };

      memory = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "48GiB";
        description = "How much memory all guests together may have, or null.";
      };

      disk = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "200GiB";
        description = "How much of the pool guests and images together may take, or null.";
      };
    };

    guest = {
      cpus = mkOption {
        type = types.ints.positive;
        default = 2;
        description = "CPUs of a guest whose job doesn't say how many.";
      };

      memory = mkOption {
        type = types.str;
        default = "4GiB";
        description = "Memory of a guest whose job doesn't say how much.";
      };

      disk = mkOption {
        type = types.str;
        default = "20GiB";
        description = "Size of a guest's own disk. What its jobs write to their workspaces is there too.";
      };

      settings = mkOption {
        type = settings;
        default = { };
        example = {
          "security.nesting" = true;
        };
        description = ''
          Further settings of the guests' profile, in Incus's words; they come over the module's.
        '';
      };

      devices = mkOption {
        type = types.attrsOf settings;
        default = { };
        example = {
          kvm = {
            type = "unix-char";
            source = "/dev/kvm";
          };
        };
        description = "Further devices of the guests' profile, in Incus's words.";
      };
    };

    images = mkOption {
      type = types.attrsOf (import ./image-option.nix { inherit lib; });
      default = { };
      example = lib.literalExpression ''
        {
          "pikaci/dev" = {
            package = inputs.pikaci.packages.''${pkgs.system}.incus-image-container;
            kind = "container";
          };
        }
      '';
      description = ''
        Images that are here when the system is up, by alias. A new one is imported while the old one serves, and the
        alias then moves to it at once. The old one is kept until you delete it.
      '';
    };

    secretSettings = mkOption {
      type = types.attrsOf types.externalPath;
      default = { };
      example = {
        "loki.auth.password" = "/run/secrets/loki-password";
      };
      description = ''
        Settings of the Incus server that are secrets: for each, the file that has its value. systemd reads the file
        (`LoadCredential`); neither the store nor an argument list sees the value. Everything else of the server is set
        by `virtualisation.incus.preseed.config`. What pikaci needs has no secrets.
      '';
    };
  };

  config = mkIf cfg.enable {
    virtualisation.incus = {
      enable = true;
      preseed = {
        storage_pools = [
          {
            inherit (cfg.pool) name driver;
            config = present { inherit (cfg.pool) source size; } // cfg.pool.settings;
          }
        ];
        networks = lib.optional cfg.bridge.enable {
          inherit (cfg.bridge) name;
          type = "bridge";
          config = {
            "ipv4.address" = cfg.bridge.address;
            "ipv4.nat" = "true";
            "ipv6.address" = "none";
          }
          // cfg.bridge.settings;
        };
        projects = [
          {
            inherit (cfg.project) name;
            description = "Guests of pikaci";
            config = {
              "features.images" = "true";
              "features.profiles" = "true";
              "features.networks" = "false";
            }
            // text (
              present {
                "limits.instances" = cfg.limits.instances;
                "limits.cpu" = cfg.limits.cpus;
                "limits.memory" = cfg.limits.memory;
                "limits.disk" = cfg.limits.disk;
              }
            )
            // cfg.project.settings;
          }
        ];
        # No network interface: a job that asks for one gets it, the others have none.
        profiles = [
          {
            name = "default";
            project = cfg.project.name;
            description = "A guest of pikaci";
            config = {
              "limits.cpu" = toString cfg.guest.cpus;
              "limits.memory" = cfg.guest.memory;
            }
            // cfg.guest.settings;
            devices = {
              root = {
                type = "disk";
                path = "/";
                pool = cfg.pool.name;
                size = cfg.guest.disk;
              };
            }
            // cfg.guest.devices;
          }
        ];
      };
    };

    users.users = lib.genAttrs cfg.users (_: {
      extraGroups = [ "incus-admin" ];
    });

    boot.supportedFilesystems.${cfg.pool.driver} = true;

    networking = {
      nftables.enable = mkDefault true; # NixOS has Incus with nothing else
      firewall.interfaces = mkIf cfg.bridge.enable {
        # DHCP and DNS for the guests, and nothing else of the host.
        ${cfg.bridge.name} = {
          allowedTCPPorts = [ 53 ];
          allowedUDPPorts = [
            53
            67
          ];
        };
      };
    };

    systemd.services = {
      pikaci-incus-images = mkIf (cfg.images != { }) {
        description = "Images of pikaci's guests";
        wantedBy = withIncus;
        after = afterIncus;
        requires = afterIncus;
        partOf = [ "incus.service" ];
        environment.HOME = "/run/pikaci-incus-images";
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
          ExecStart = lib.getExe importImages;
          RuntimeDirectory = "pikaci-incus-images";
          TimeoutStartSec = "30min";
        };
      };

      pikaci-incus-secrets = mkIf (secrets != [ ]) {
        description = "Secret settings of Incus";
        wantedBy = withIncus;
        after = afterIncus;
        requires = afterIncus;
        partOf = [ "incus.service" ];
        environment.HOME = "/run/pikaci-incus-secrets";
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
          ExecStart = lib.getExe setSecrets;
          RuntimeDirectory = "pikaci-incus-secrets";
          LoadCredential = map (key: "${key}:${cfg.secretSettings.${key}}") secrets;
        };
      };
    };
  };
}
