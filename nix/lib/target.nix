# A target: prepares, jobs, and data for the CI server. Checking one evaluates none of its derivations.
let
  inherit (builtins)
    all
    attrNames
    attrValues
    concatMap
    elemAt
    filter
    groupBy
    intersectAttrs
    length
    mapAttrs
    ;
  inherit (import ./fault.nix) fault;
  types = import ./types.nix;
  guest = import ./guest.nix;
  job = import ./job.nix;
  prepare = import ./prepare.nix;
  inherit (import ./place.nix) areNeedsThere;
  areNeedsRight = import ./needs.nix;

  # See staged-rust.nix.
  expand = path: entry: if entry ? __stagedRust then (import ./staged-rust.nix).expand path entry else entry;

  fieldsWith =
    images:
    types.record {
      title = {
        type = types.nullOr types.words;
        default = null;
      };
      description = {
        type = types.nullOr types.words;
        default = null;
      };
      trigger = {
        type = types.oneOf [
          "branch"
          "nightly"
          "manual"
        ];
        default = "manual";
      };
      snapshot = {
        type = snapshot;
        default.exclude = [ ];
      };
      preconditions = {
        type = types.listOf types.words;
        default = [ ];
      };
      reuse = {
        type = types.bool;
        default = true;
      };
      prepare = {
        type = types.namedBy "an attribute set of prepares" prepare.check;
        default = { };
      };
      jobs.type = types.namedBy "an attribute set of jobs" (path: _: job.check path images);
    };

  snapshot = types.record {
    exclude = {
      type = types.listOf (import ./glob.nix);
      default = [ ];
    };
  };

  variable = import ./variable.nix "PIKACI_INPUT";

  # One namespace for prepares and jobs, and one variable for each prepare.
  hasNames =
    path: target:
    let
      both = attrNames (intersectAttrs target.prepare target.jobs);
      needed = filter (id: target.jobs ? ${id}) (concatMap (job: job.needs) (attrValues target.jobs));
      ids = attrNames target.prepare ++ attrNames (groupBy (id: id) needed);
      what = id: if target.prepare ? ${id} then "prepare" else "jobs";
      byVariable = groupBy variable ids;
      clashes = filter (name: length byVariable.${name} > 1) (attrNames byVariable);
      clash = byVariable.${elemAt clashes 0};
    in
    if target.jobs == { } then
      fault "${path}.jobs" "at least one job" "none"
    else if both != [ ] then
      fault "${path}.jobs.${elemAt both 0}" "an id that no prepare of this target has" "the prepare \"${elemAt both 0}\""
    else if length ids > 1 && clashes != [ ] then
      fault "${path}.${what (elemAt clash 1)}.${elemAt clash 1}" "an id with a variable of its own" "${elemAt clashes 0}, which \"${elemAt clash 0}\" has too"
    else
      true;

  hasRoom =
    path: target: id:
    let
      job = target.jobs.${id};
      needed = filter (need: target.prepare ? ${need}) job.needs;
      inputs = map (name: {
        inherit name;
        guestPath = guest.pathOf job.runtime name target.prepare.${name};
      }) needed ++ map (name: {
        inherit name;
        guestPath = if job.runtime == "host_process" then null else "/staged/${name}";
      }) (filter (need: target.jobs ? ${need}) job.needs);
    in
    inputs == [ ] || guest.haveRoom job.runtime "${path}.jobs.${id}.needs" (filter (input: input.guestPath != null) inputs);
in
images:
let
  fields = fieldsWith images;
in
path: id: entry:
let
  target = fields.check path (expand path entry);
  title = if target.title == null then id else target.title;
in
# Each of these is true, or throws.
assert hasNames path target;
assert areNeedsRight path target.prepare target.jobs;
assert areNeedsThere path target.prepare target.jobs;
assert all (hasRoom path target) (attrNames target.jobs);
target
// {
  inherit path id title;
  description = if target.description == null then title else target.description;
  prepare = mapAttrs (name: entry: entry // { env = variable name; }) target.prepare;
}
