# NixOS systems with the modules, for a real nixpkgs (a path): evaluated by hand, since the tests have none.
#
#   nix eval --impure --json --expr 'import ./tests/nix/modules.nix <nixpkgs> "x86_64-linux"'
#
# Each gives the drvPath of the system's toplevel or of an image; evaluating it has passed all assertions.
nixpkgs: system:
let
  evaluate =
    modules:
    import (nixpkgs + "/nixos/lib/eval-config.nix") {
      inherit system modules;
    };
  image =
    instanceType:
    (import nixpkgs { inherit system; }).callPackage ../../nix/incus/image-package.nix {
      inherit instanceType;
      nixosSystem = import (nixpkgs + "/nixos/lib/eval-config.nix");
    };
  container-with-more = (image "container").override {
    modules = [ ({ pkgs, ... }: { pikaci.guest.packages = [ pkgs.git ]; }) ];
  };
  toplevel = modules: (evaluate modules).config.system.build.toplevel.drvPath;

  # What any NixOS system has to say of itself.
  machine = {
    fileSystems."/" = {
      device = "/dev/disk/by-label/nixos";
      fsType = "ext4";
    };
    boot.loader.systemd-boot.enable = true;
    networking.hostId = "8425e349";
    system.stateVersion = "25.11";
  };
  guest = {
    pikaci.guest.enable = true;
  };
  fullGuest =
    { pkgs, ... }:
    {
      pikaci.guest = {
        enable = true;
        packages = [ pkgs.git ];
        environment.CARGO_TERM_COLOR = "always";
        nix.enable = true;
        network.enable = false;
      };
    };
  host = {
    pikaci.incusHost.enable = true;
  };
  fullHost =
    { ... }:
    {
      users.users.alice.isNormalUser = true;
      pikaci.incusHost = {
        enable = true;
        users = [ "alice" ];
        pool = {
          driver = "zfs";
          source = "tank/incus";
          settings."volume.zfs.use_refquota" = true;
        };
        bridge.settings."ipv4.nat" = false;
        project.settings."limits.processes" = 20000;
        limits = {
          instances = 16;
          cpus = 32;
          memory = "48GiB";
          disk = "200GiB";
        };
        guest.devices.kvm = {
          type = "unix-char";
          source = "/dev/kvm";
        };
        images = {
          "pikaci/dev" = {
            package = image "container";
            kind = "container";
          };
          "pikaci/vm".package = image "virtual-machine";
          "pikaci/debian" = {
            metadata = "/var/lib/images/metadata.tar.xz";
            rootfs = "/var/lib/images/disk.qcow2";
          };
        };
        secretSettings."loki.auth.password" = "/run/secrets/loki";
      };
      # Beside the module's: freeform stays freeform.
      virtualisation.incus.preseed.config."images.auto_update_interval" = "0";
      virtualisation.incus.preseed.projects = [ { name = "other"; } ];
    };
  modules = {
    default = ../../nix/modules;
    guest = ../../nix/modules/guest.nix;
    incus-host = ../../nix/modules/incus-host.nix;
  };
  container = nixpkgs + "/nixos/modules/virtualisation/lxc-container.nix";
  vm = nixpkgs + "/nixos/modules/virtualisation/incus-virtual-machine.nix";
in
{
  inert = toplevel [ machine modules.default ] == toplevel [ machine ];
  guest = toplevel [ machine modules.guest guest ];
  guest-full = toplevel [ machine modules.guest fullGuest ];
  guest-in-container = toplevel [ container modules.guest guest ];
  guest-in-container-with-nix = toplevel [ container modules.guest fullGuest ];
  guest-in-vm = toplevel [ vm modules.guest guest ];
  host = toplevel [ machine modules.incus-host host ];
  host-full = toplevel [ machine modules.incus-host fullHost ];
  both = toplevel [ machine modules.default guest host ];
  preseed = (evaluate [ machine modules.incus-host fullHost ]).config.virtualisation.incus.preseed;
  image-of-container = (image "container").drvPath;
  image-of-vm = (image "virtual-machine").drvPath;
  image-with-more = container-with-more.drvPath != (image "container").drvPath;
}
