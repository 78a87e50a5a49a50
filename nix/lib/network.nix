# What a job reaches of the network.
let
  inherit (import ./fault.nix) fault;
  types = import ./types.nix;
in
{
  fields.network = {
    type = types.nullOr (
      types.oneOf [
        "none"
        "loopback"
        "bridge"
      ]
    );
    default = null;
  };

  plan =
    { path, job, ... }:
    let
      isApart = job.network == "none" || job.network == "loopback";
    in
    if job.network == null then
      { }
    else if isApart && job.runtime == "tart" then
      fault "${path}.network" "\"bridge\" where runtime is \"tart\" (a VM always has the network of its Mac)" "\"${job.network}\""
    else if isApart && job.runtime == "incus" && job.runtimeConfig.network != null then
      fault "${path}.network" "\"bridge\" beside incus.network" "\"${job.network}\""
    else
      { execute.network = job.network; };
}
