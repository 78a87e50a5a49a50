# The guest of an image, beside nixpkgs' virtualisation/lxc-container.nix or virtualisation/incus-virtual-machine.nix.
#
# Jobs see prepared outputs in /nix/store: the runner lays an overlay of /nix/.pikaci-store and the guest's own store over it.
# The guest's may be mounted read-only there, as NixOS does.
{ config, lib, ... }:
{
  imports = [ ../modules/guest.nix ];

  pikaci.guest.enable = lib.mkDefault true;

  # The instance's own, which Incus gives it.
  networking.hostName = lib.mkDefault "";

  # No configuration to rebuild it from.
  installer.cloneConfig = lib.mkDefault false;

  # Loads the database of a store that nobody asks, at each boot before all else.
  systemd.services.register-nix-paths = lib.mkIf (config.boot.isContainer && !config.nix.enable) {
    enable = false;
  };
}
