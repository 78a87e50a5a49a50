# Targets in several sets or files. An id that two of them define is an error, not an override.
let
  inherit (builtins)
    attrNames
    concatMap
    elemAt
    filter
    foldl'
    genList
    groupBy
    head
    isAttrs
    isFunction
    isList
    isPath
    length
    match
    storeDir
    unsafeGetAttrPos
    ;
  inherit (import ./fault.nix) fault wrong;

  # The position of an attribute, with the file's path in the flake; the position of the set if that is unknown.
  whereIs =
    id: source:
    let
      position = unsafeGetAttrPos id source.targets;
      inside = match "${storeDir}/[^/]+/(.*)" position.file;
      file = if inside == null then position.file else head inside;
    in
    if position == null then source.path else "${file}:${toString position.line}";

  repeated =
    sources:
    let
      ids = groupBy (id: id) (concatMap (source: attrNames source.targets) sources);
      id = head (filter (id: length ids.${id} > 1) (attrNames ids));
      found = map (whereIs id) (filter (source: source.targets ? ${id}) sources);
    in
    fault "targets.${id}" "an id that only one set of targets has" "it at ${elemAt found 0} and at ${elemAt found 1}";

  # load returns the set of a list entry.
  merge =
    expected: load: list:
    let
      source =
        index:
        let
          path = "targets[${toString index}]";
          targets = load (elemAt list index);
        in
        if isAttrs targets then { inherit path targets; } else wrong path expected targets;
      sources = genList source (length list);
      merged = foldl' (all: source: all // source.targets) { } sources;
      count = foldl' (sum: source: sum + length (attrNames source.targets)) 0 sources;
    in
    if length (attrNames merged) == count then merged else repeated sources;
in
{
  # [ set ... ] -> set
  mergeTargets =
    list:
    if isList list then merge "an attribute set of targets" (targets: targets) list else wrong "targets" "a list of attribute sets of targets" list;

  # The targets of mkCatalog's `targets`: a set, or a list of sets, of functions from a system to a set, and of files that have
  # either.
  targetsFor =
    system: given:
    let
      expected = "an attribute set of targets for ${system}";
      load =
        entry:
        if isPath entry then
          load (import entry)
        else if isFunction entry then
          entry system
        else
          entry;
    in
    if isAttrs given then
      given
    else if isList given then
      merge expected load given
    else
      wrong "targets" expected given;
}
