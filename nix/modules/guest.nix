# Makes a NixOS system a guest that pikaci runs jobs in, container or VM.
{
  config,
  lib,
  options,
  pkgs,
  ...
}:
let
  inherit (lib)
    mkDefault
    mkEnableOption
    mkIf
    mkMerge
    mkOption
    mkOverride
    optionalAttrs
    types
    ;
  cfg = config.pikaci.guest;

  # Stronger than nixpkgs' own container and VM modules, weaker than a user's settings.
  mkOurs = mkOverride 880;
in
{
  options.pikaci.guest = {
    enable = mkEnableOption ''
      running pikaci's jobs in this system: the user `pikaci` (uid 1000, group `users`), the runner at
      `/run/current-system/sw/bin/pikaci-incus-run`, the paths that a host mounts, and a boot that waits for nothing.
      There is no sshd and no documentation.

      The module doesn't say what kind of guest it is: import nixpkgs' `virtualisation/lxc-container.nix` or
      `virtualisation/incus-virtual-machine.nix` beside it'';

    runner = mkOption {
      type = types.package;
      default = pkgs.callPackage ../incus/runner.nix { };
      defaultText = lib.literalExpression "pkgs.callPackage ../incus/runner.nix { }";
      description = "The package with `bin/pikaci-incus-run`.";
    };

    packages = mkOption {
      type = types.listOf types.package;
      default = [ ];
      example = lib.literalExpression "[ pkgs.git pkgs.jq ]";
      description = ''
        Programs on the `PATH` of every job. What only some jobs need, they better name in their commands or as
        prepares: those follow the commit, these the image.
      '';
    };

    environment = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = {
        CARGO_TERM_COLOR = "always";
      };
      description = ''
        Variables of every job. A job's own come over them. They are in the world-readable store: no secrets.
      '';
    };

    nix.enable = mkEnableOption ''
      Nix in the guest, with its daemon, for jobs that build. Without it the guest boots faster and is smaller;
      prepared outputs need no Nix to be read'';

    network.enable = mkOption {
      type = types.bool;
      default = true;
      description = ''
        Whether an interface that the host gives the guest is configured by DHCP (systemd-networkd). Nothing waits for
        it. A guest that is given none has none either way.
      '';
    };
  };

  config = mkIf cfg.enable (mkMerge [
    {
      users.users.pikaci = {
        description = "Runs jobs";
        isNormalUser = true;
        uid = 1000;
        group = "users";
      };

      environment.systemPackages = [ cfg.runner ] ++ cfg.packages;
      environment.etc."pikaci/environment.json".text = builtins.toJSON cfg.environment;

      # The colons keep mode and owner of what the host has already mounted.
      systemd.tmpfiles.settings.pikaci =
        lib.genAttrs
          [
            "/artifacts"
            "/staged"
            "/workspace"
            "/workspace/snapshot"
          ]
          (_: {
            d = {
              mode = ":0755";
              user = ":root";
              group = ":root";
            };
          });

      nix = {
        enable = mkOurs cfg.nix.enable;
        channel.enable = mkOurs false;
        settings = mkIf cfg.nix.enable {
          experimental-features = [
            "nix-command"
            "flakes"
          ];
          # The kernel does not allow a sandbox in an unprivileged container.
          sandbox = mkDefault (!config.boot.isContainer);
        };
      };

      # A guest runs one job: no logins, and no switch to another system.
      services.openssh.enable = mkOurs false;
      security.sudo.enable = mkOurs false;
      system.switch.enable = mkOurs false;
      system.stateVersion = mkDefault config.system.nixos.release;
      documentation = {
        enable = mkOurs false;
        doc.enable = mkOurs false;
        info.enable = mkOurs false;
        man.enable = mkOurs false;
        nixos.enable = mkOurs false;
      };
      programs.command-not-found.enable = mkOurs false;

      # It lives for minutes.
      services.logrotate.enable = mkOverride 90 false; # nixpkgs' guests enable it outright
      services.timesyncd.enable = mkOurs false; # the host's kernel keeps its clock
      services.journald.storage = mkDefault "volatile";
      boot.loader.timeout = mkOurs 0;

      # Disks and displays that a guest never has, and a memory guard, which the host's limits replace.
      boot.bcache.enable = mkOurs false;
      services.lvm.enable = mkOurs false;
      fonts.fontconfig.enable = mkOurs false;
      systemd.oomd.enable = mkOurs false;

      networking = {
        useNetworkd = mkOurs true;
        useDHCP = mkOurs cfg.network.enable;
        useHostResolvConf = mkOurs false; # names come by DHCP, as addresses do
        firewall.enable = mkOurs false; # nothing listens, and the host's bridge decides who can reach it
      };
      systemd.network.wait-online.enable = mkOurs false;
    }

    # nixpkgs' guests carry a copy of nixpkgs for nixos-rebuild.
    (optionalAttrs (options ? system.installer.channel) { system.installer.channel.enable = mkOurs false; })
  ]);
}
