# The targets, by id: what `pikaci run ID` runs. One file each.
system: {
  check = import ./check.nix system;
  nightly = import ./nightly.nix;
}
