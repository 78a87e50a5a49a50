# The store paths that a text refers to. Every derivation output and store path in its context becomes a prepare node, so
# that the plan contains everything it runs.
#
# A context names the derivations of a text, the text has the paths, and the two are matched by name. If that is
# ambiguous, or a path has no context, the text is an error.
let
  inherit (builtins)
    attrNames
    attrValues
    baseNameOf
    concatMap
    elem
    elemAt
    filter
    foldl'
    getContext
    groupBy
    head
    isList
    length
    listToAttrs
    replaceStrings
    sort
    split
    storeDir
    stringLength
    substring
    unsafeDiscardStringContext
    ;
  inherit (import ./fault.nix) fault;
  node = import ./node.nix;

  literal = replaceStrings [ "." "+" ] [ "[.]" "[+]" ] storeDir;
  pathPattern = "${literal}/([0-9abcdfghijklmnpqrsvwxyz]{32}-[0-9a-zA-Z+._?=-]+)";

  # Store paths in the text: { base = "<hash>-<name and perhaps more>"; hash; rest; }.
  mentions =
    text:
    map (group: {
      base = head group;
      hash = substring 0 32 (head group);
      rest = substring 33 (-1) (head group);
    }) (filter isList (split pathPattern text));

  hashOf = path: substring 0 32 (baseNameOf path);
  startsWith = prefix: text: substring 0 (stringLength prefix) text == prefix;

  references =
    path: context:
    concatMap (
      name:
      let
        entry = context.${name};
      in
      if entry.allOutputs or false then
        fault path "outputs of derivations" "${name}, which stands for a derivation with all its outputs (interpolate the derivation, not its drvPath)"
      else
        map (output: { inherit name output; }) (entry.outputs or [ ])
    ) (attrNames context);

  key = reference: "${reference.name}^${reference.output}";

  # The one store path in the text that matches the reference; `found` are the paths in the text without another match.
  outPath =
    path: text: found: reference:
    let
      wanted = node.outputName reference.name reference.output;
      exact = filter (mention: mention.rest == wanted) found;
      candidates = if exact != [ ] then exact else filter (mention: startsWith wanted mention.rest) found;
      hashes = attrNames (groupBy (mention: mention.hash) candidates);
      floating = length (split "/[0-9abcdfghijklmnpqrsvwxyz]{52}" text) > 1;
    in
    if length hashes == 1 then
      "${storeDir}/${head hashes}-${wanted}"
    else if hashes != [ ] then
      ambiguous path wanted
    else if floating then
      fault path "derivations whose output paths are known before they are built" "${wanted}, whose isn't (it is content-addressed or impure)"
    else
      fault path "the whole path of \"${wanted}\" in the text" "only a part of it (interpolate the derivation as it is, or make it a prepare that the job needs)";

  ambiguous = path: wanted: fault path "one derivation named \"${wanted}\"" "several (make them prepares that the job needs)";

  # Longer names first: "tool-dev" is not "tool" with more text behind it.
  resolve =
    path: text: found: unresolved:
    let
      named = map (reference: reference // { wanted = node.outputName reference.name reference.output; }) unresolved;
      twice = filter (same: length same > 1) (attrValues (groupBy (reference: reference.wanted) named));
      ordered = sort (a: b: stringLength a.wanted > stringLength b.wanted) named;
      step =
        state: reference:
        let
          out = outPath path text state.found reference;
        in
        {
          found = filter (mention: mention.hash != hashOf out) state.found;
          outs = state.outs ++ [
            {
              name = key reference;
              value = out;
            }
          ];
        };
    in
    if twice != [ ] then
      ambiguous path (head (head twice)).wanted
    else
      foldl' step {
        inherit found;
        outs = [ ];
      } ordered;
in
# known: the output paths of the target's own prepares, by "<drv path>^<output>". allowed: output paths that the text may
# mention without context, because its job needs them.
path: text: known: allowed:
let
  context = getContext text;
  plain = unsafeDiscardStringContext text;
  sources = filter (name: context.${name}.path or false) (attrNames context);
  outputs = references path context;
  unresolved = filter (reference: !(known ? ${key reference})) outputs;
  explained = map hashOf (sources ++ allowed ++ concatMap (reference: if known ? ${key reference} then [ known.${key reference} ] else [ ]) outputs);
  found = filter (mention: !(elem mention.hash explained)) (mentions plain);
  resolved = resolve path plain found unresolved;
  outs = known // listToAttrs resolved.outs;
  stray = elemAt resolved.found 0;
in
if resolved.found != [ ] then
  fault path "store paths that come from interpolated derivations" "the literal path ${storeDir}/${stray.base} (interpolate the derivation that makes it)"
else
  {
    text = plain;
    nodes = map node.storePath sources ++ map (reference: node.derivation reference.name reference.output outs.${key reference}) outputs;
  }
