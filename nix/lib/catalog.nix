# mkCatalog: { <system> = { catalog; plans.<target>; images.<role>; }; }.
let
  inherit (builtins)
    all
    any
    attrNames
    attrValues
    elemAt
    filter
    groupBy
    isFunction
    length
    listToAttrs
    mapAttrs
    toJSON
    ;
  inherit (import ./fault.nix) fault meant wrong;
  inherit (import ./merge.nix) targetsFor;
  inOrder = import ./natural.nix;
  types = import ./types.nix;
  image = import ./image.nix;
  checkTarget = import ./target.nix;
  planOf = import ./plan.nix;

  arguments = types.record {
    systems.type = systemList;
    targets.type = targetFunction;
    lanes = {
      type = types.anything;
      default = null;
    };
    # Checked with the first plan.
    hosts = {
      inherit (import ./hosts.nix) type;
      default = { };
      lazy = true;
    };
    # system: modules: the image of a container with such a NixOS; for services that are guests.
    nixosImage = {
      type = types.anything;
      default = null;
      lazy = true;
    };
    images = {
      type = types.namedBy "an attribute set of images" image.check;
      default = { };
    };
  };

  systemList =
    let
      list = types.listOf (types.oneOf types.systems);
    in
    {
      inherit (list) expected;
      check =
        path: value:
        let
          checked = list.check path value;
          repeated = filter (system: length (filter (other: other == system) checked) > 1) checked;
        in
        if checked == [ ] then
          wrong path "at least one system" value
        else if repeated != [ ] then
          fault path "each system once" "${toJSON (elemAt repeated 0)} more than once"
        else
          checked;
    };

  targetFunction = rec {
    expected = "a function from a system to its targets";
    check = path: value: if isFunction value then value else wrong path expected value;
  };

  # A lane names a target of at least one system, with the lane's trigger.
  isLaneRight =
    targets: isElsewhere: entry:
    let
      id = entry.lane.target;
      path = "${entry.path}.target";
    in
    if targets ? ${id} then
      targets.${id}.trigger == entry.trigger
      ||
        fault path "a target whose trigger is \"${entry.trigger}\"" "\"${id}\", whose trigger is \"${targets.${id}.trigger}\""
    else
      isElsewhere id || fault path "the id of a target" (meant (attrNames targets) id);

  isTriggerRight =
    byTarget: target:
    target.trigger == "manual"
    || byTarget ? ${target.id}
    ||
      fault "${target.path}.trigger" "a lane under ${target.trigger}.lanes for a target with this trigger" "none";

  summary = target: {
    inherit (target)
      id
      title
      description
      trigger
      ;
    jobs = inOrder (mapAttrs (id: _: id) target.jobs);
  };
in
args:
let
  checked = arguments.check "" args;
  images = mapAttrs (_: image.named) checked.images;
  hosts = import ./hosts.nix;
  lanes = import ./lanes.nix checked.lanes;
  check = checkTarget images;

  raw = listToAttrs (
    map (system: {
      name = system;
      value = targetsFor system (checked.targets system);
    }) checked.systems
  );

  forSystem =
    system: declared:
    let
      targets = (types.namedBy "an attribute set of targets" check).check "targets" declared;
      isElsewhere = id: any (other: raw.${other} ? ${id}) checked.systems;
      byTarget = groupBy (entry: entry.lane.target) lanes.entries;
      here = filter (lane: targets ? ${lane.target});
      # True, or throws.
      agree =
        image.areAliasesRight images
        && all (isLaneRight targets isElsewhere) lanes.entries
        && all (isTriggerRight byTarget) (attrValues targets);
    in
    {
      catalog = assert agree; {
        schema_version = 1;
        inherit system;
        targets = map summary (inOrder targets);
        lanes = {
          inherit (lanes) nightly_schedule_utc;
          branch = here lanes.branch;
          nightly = here lanes.nightly;
        };
        images = map (
          role: images.${role} // { inherit role; buildable = image.isBuildable system checked.images.${role}; }
        ) (attrNames images);
      };
      hosts = hosts.recorded checked.hosts;
      plans = mapAttrs (id: _: assert agree; planOf checked.nixosImage system images checked.hosts targets.${id}) declared;
      images = mapAttrs (role: it: assert agree; images.${role} // { inherit role; } // image.built system role it) checked.images;
    };
in
mapAttrs forSystem raw
