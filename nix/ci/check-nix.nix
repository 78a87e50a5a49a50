# The catalog library: plans and error messages.
{
  title = "check-nix";
  description = "Tests of the catalog library and its error messages";
  trigger = "branch";
  jobs.catalog = {
    description = "Tests of nix/lib and of this repository's catalog";
    command = import ./pytest.nix { paths = "tests/nix"; };
    timeoutSecs = 1800;
  };
}
