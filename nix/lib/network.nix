# What a job reaches of the network.
let
  inherit (import ./fault.nix) fault wrong;
  types = import ./types.nix;

  kinds = types.oneOf [
    "none"
    "loopback"
    "bridge"
  ];
  destination = types.shaped "a host and a port (\"cache.example.org:443\", \"[2001:db8::1]:443\")" "([A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:.]+]):[0-9]{1,5}";
  allowed = types.record {
    allow.type = types.listOf destination;
  };
  network = {
    expected = "\"none\", \"loopback\", \"bridge\" or { allow = [ \"host:port\" ]; }";
    check =
      path: value:
      if builtins.isAttrs value then
        let
          checked = allowed.check path value;
        in
        if checked.allow == [ ] then
          fault "${path}.allow" "at least one host and port (\"loopback\" allows none)" "an empty list"
        else
          checked
      else if builtins.isString value then
        kinds.check path value
      else
        wrong path network.expected value;
  };
in
{
  fields.network = {
    type = types.nullOr network;
    default = null;
  };

  plan =
    { path, job, ... }:
    let
      isApart = job.network == "none" || job.network == "loopback";
      allows = builtins.isAttrs job.network;
    in
    if job.network == null then
      { }
    else if isApart && job.runtime == "tart" then
      fault "${path}.network" "\"bridge\" where runtime is \"tart\" (a VM always has the network of its Mac)" "\"${job.network}\""
    else if isApart && job.runtime == "incus" && job.runtimeConfig.network != null then
      fault "${path}.network" "\"bridge\" beside incus.network" "\"${job.network}\""
    else if allows && job.runtime == "tart" then
      fault "${path}.network" "\"bridge\" where runtime is \"tart\" (a VM always has the network of its Mac)" "an allow list"
    else if allows && job.runtime == "incus" && job.runtimeConfig.network == null then
      fault "${path}.network" "incus.network beside an allow list: the bridge that leads there" "no incus.network"
    else
      { execute.network = job.network; };
}
