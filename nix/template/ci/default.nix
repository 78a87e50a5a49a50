# The targets, by id, one file each. `pikaci run ID` runs one.
arguments: {
  check = import ./check.nix arguments;
}
