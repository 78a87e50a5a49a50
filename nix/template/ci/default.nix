# The targets, by id, one file each. `pikaci run ID` runs one.
system: {
  check = import ./check.nix system;
  nightly = import ./nightly.nix;
}
