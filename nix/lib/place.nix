# Where something runs: `placement`, and `host` or `labels` where that is another machine.
let
  inherit (import ./fault.nix) fault wrong;
  types = import ./types.nix;
in
{
  fields = {
    placement = {
      type = types.oneOf [
        "local"
        "remote_ssh"
      ];
      default = "local";
    };
    host = {
      type = types.nullOr types.host;
      default = null;
    };
    labels = {
      type = types.nullOr (types.listOf types.id);
      default = null;
    };
  };

  check =
    path: entry:
    if entry.placement == "local" then
      if entry.host != null then
        fault "${path}.host" "no host where placement is \"local\"" "\"${entry.host}\""
      else if entry.labels != null then
        wrong "${path}.labels" "no labels where placement is \"local\"" entry.labels
      else
        entry
    else if entry.host != null && entry.labels != null then
      fault path "either host or labels" "both"
    else if entry.host == null && (entry.labels == null || entry.labels == [ ]) then
      fault path "a host, or labels that one has, where placement is \"remote_ssh\"" "neither"
    else
      entry;

  config =
    entry:
    if entry.placement == "local" then
      { }
    else if entry.host != null then
      { inherit (entry) host; }
    else
      { inherit (entry) labels; };
}
