# What the jobs of a target need: prepares and jobs of the same target, each once, never in a circle.
let
  inherit (builtins)
    all
    any
    attrNames
    concatStringsSep
    elem
    elemAt
    filter
    groupBy
    head
    length
    removeAttrs
    ;
  inherit (import ./fault.nix) fault meant;

  isKnown =
    path: prepares: jobs: id:
    let
      inherit (jobs.${id}) needs;
      isHere = need: prepares ? ${need} || jobs ? ${need};
      byName = groupBy (need: need) needs;
      repeated = filter (need: length byName.${need} > 1) (attrNames byName);
    in
    if !(all isHere needs) then
      fault "${path}.jobs.${id}.needs" "prepares and jobs of this target" (
        meant (attrNames (prepares // jobs)) (head (filter (need: !(isHere need)) needs))
      )
    else if length needs > 1 && repeated != [ ] then
      fault "${path}.jobs.${id}.needs" "each need once" "\"${head repeated}\" more than once"
    else
      true;

  # Removes jobs that wait for no other job, until only circles are left.
  circular =
    jobs:
    let
      free = filter (id: !(any (need: jobs ? ${need}) jobs.${id}.needs)) (attrNames jobs);
    in
    if jobs == { } || free == [ ] then jobs else circular (removeAttrs jobs free);

  walk =
    jobs: trail: id:
    if elem id trail then
      from id (trail ++ [ id ])
    else
      walk jobs (trail ++ [ id ]) (head (filter (need: jobs ? ${need}) jobs.${id}.needs));

  from = id: trail: if head trail == id then trail else from id (builtins.tail trail);
in
# True, or throws.
path: prepares: jobs:
let
  ids = attrNames jobs;
  waits = id: any (need: jobs ? ${need}) jobs.${id}.needs;
  stuck = if any waits ids then circular jobs else { };
  circle = walk stuck [ ] (elemAt (attrNames stuck) 0);
in
all (isKnown path prepares jobs) ids
&& (stuck == { } || fault "${path}.jobs.${head circle}.needs" "jobs that don't wait for themselves" (concatStringsSep " -> " circle))
