# Both modules; each does nothing until it is enabled.
{
  imports = [
    ./guest.nix
    ./incus-host.nix
  ];
}
