# A target made concrete: prepare nodes and execute nodes. Evaluates the target's derivations, and no others.
let
  inherit (builtins)
    all
    attrNames
    attrValues
    concatMap
    filter
    groupBy
    head
    isAttrs
    listToAttrs
    mapAttrs
    removeAttrs
    tail
    ;
  inherit (import ./fault.nix) fault;
  hosts = import ./hosts.nix;
  inOrder = import ./natural.nix;
  job = import ./job.nix;
  place = import ./place.nix;
  prepare = import ./prepare.nix;

  byId = nodes: groupBy (node: node.id) nodes;

  # Prepares of the same output are one node, so their settings must agree.
  agree =
    entries:
    let
      first = head entries;
      said =
        entry:
        removeAttrs entry.node [
          "description"
          "prepare_id"
        ];
      others = filter (entry: said entry != said first) (tail entries);
    in
    if others == [ ] then
      first.node
    else
      fault (head others).path "the placement, residency and timeoutSecs of ${first.path}, which has the same derivation" "others";

  nodesOf =
    target: prepares: jobs:
    let
      declared = mapAttrs (_: agree) (groupBy (entry: entry.node.id) (attrValues prepares));
      mentioned = mapAttrs (_: head) (byId (concatMap (entry: entry.extra) (attrValues prepares ++ attrValues jobs)));
      execute = map (entry: entry.node) (inOrder jobs);
      clash = filter (node: declared ? ${node.id}) execute;
    in
    if clash != [ ] then
      fault "${target.path}.prepare.${(head clash).id}" "an id that isn't the node id of a job" "that of the job \"${(head clash).job_id}\""
    else
      inOrder (mentioned // declared) ++ execute;

  # True if host-bound outputs are mentioned only by nodes on that host. Otherwise throws.
  areMentionsThere =
    target: prepares: jobs:
    let
      kept = filter (id: target.prepare.${id}.residency == "remote") (attrNames target.prepare);
      isThere =
        path: entry: extra: id:
        all (node: node.id != prepares.${id}.node.id || place.keeps path id target.prepare.${id} entry) extra;
      areThere =
        key: planned:
        all (id: all (isThere "${target.path}.${key}.${id}" target.${key}.${id} planned.${id}.extra) kept) (attrNames planned);
    in
    kept == [ ] || (areThere "prepare" prepares && areThere "jobs" jobs);

  rolesOf =
    images: target:
    let
      roles = groupBy (job: job.runtimeConfig.role) (filter (job: job.runtime == "incus") (attrValues target.jobs));
    in
    map (role: images.${role} // { inherit role; }) (attrNames roles);
in
nixosImage: system: images: described: target:
let
  pathOf = id: "${target.path}.prepare.${id}";
  derivations = removeAttrs target.prepare (filter (id: target.prepare.${id}.hostCommand != null) (attrNames target.prepare));
  commands = removeAttrs target.prepare (attrNames derivations);
  resolved = mapAttrs (id: prepare.fromDerivation (pathOf id) system) derivations;
  known = listToAttrs (
    map (entry: {
      name = entry.key;
      value = entry.outPath;
    }) (attrValues resolved)
  );
  prepares = mapAttrs (
    id: entry:
    entry
    // {
      inherit (target.prepare.${id}) env guestPath hostCommand;
      node = entry.node // {
        prepare_id = id;
      };
    }
  ) (resolved // mapAttrs (id: entry: prepare.fromHostCommand (pathOf id) id entry known) commands);
  jobs = mapAttrs (
    id: entry:
    job.plan {
      path = "${target.path}.jobs.${id}";
      inherit
        id
        prepares
        known
        nixosImage
        system
        ;
      job = entry;
    }
  ) target.jobs;
  reachable = hosts.planned described (attrValues target.prepare ++ attrValues target.jobs);
in
assert areMentionsThere target prepares jobs;
# Evaluated for its errors, even if the target does not use it.
assert isAttrs described;
{
  schema_version = 1;
  target_id = target.id;
  target_description = target.description;
  inherit system;
  inherit (target) preconditions snapshot;
  images = rolesOf images target;
  nodes = nodesOf target prepares jobs;
}
// (if target.reuse then { } else { reuse = false; })
// (if reachable == { } then { } else { hosts = reachable; })
