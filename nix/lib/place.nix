# Where a node runs: `placement`, and `host` or `labels` for another machine.
let
  inherit (builtins)
    all
    attrNames
    concatStringsSep
    elem
    filter
    lessThan
    sort
    toJSON
    ;
  inherit (import ./fault.nix) fault wrong;
  types = import ./types.nix;

  sorted = labels: if labels == null then null else sort lessThan labels;
  isSame = a: b: a.placement == b.placement && a.host == b.host && sorted a.labels == sorted b.labels;

  show =
    entry:
    if entry.placement == "local" then
      "locally"
    else if entry.host != null then
      "on ${toJSON entry.host}"
    else
      "on hosts with the labels ${concatStringsSep ", " (map toJSON entry.labels)}";

  # Each of these is true, or throws.
  keeps =
    path: id: prepare: entry:
    isSame prepare entry
    ||
      fault path "derivations whose outputs are where this runs (${show entry})" "\"${id}\", whose output stays ${show prepare}";
  makes =
    path: id: prepare: entry:
    isSame prepare entry
    || fault path "host commands that run where this does (${show entry})" "\"${id}\", which runs ${show prepare}";
in
{
  inherit keeps;

  # True if each job runs on the host of its host-bound inputs; other outputs are copied.
  areNeedsThere =
    path: prepares: jobs:
    let
      isBound = id: prepares.${id}.hostCommand != null || prepares.${id}.residency == "remote";
      bound = filter isBound (attrNames prepares);
      isThere =
        job: id:
        !(elem id jobs.${job}.needs)
        || (if prepares.${id}.hostCommand != null then makes else keeps) "${path}.jobs.${job}.needs" id prepares.${id} jobs.${job};
    in
    bound == [ ] || all (job: all (isThere job) bound) (attrNames jobs);

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
