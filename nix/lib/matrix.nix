# Jobs or targets for every combination of some values.
#
# matrix { python = [ "3.11" "3.12" ]; db = { sqlite = pkgs.sqlite; }; include = [ ]; exclude = [ ]; } (cell: { ... })
#
# An axis is a list of strings and numbers, or an attribute set of any values by name. `cell` has a value of each axis. The
# id of a cell is `prefix`, if there is one, and its names in the order of the axes' names; its description says them with
# the axes.
let
  inherit (builtins)
    attrNames
    concatLists
    concatStringsSep
    elemAt
    filter
    foldl'
    groupBy
    head
    intersectAttrs
    isAttrs
    isFunction
    isInt
    isList
    isString
    length
    listToAttrs
    map
    mapAttrs
    removeAttrs
    replaceStrings
    split
    toString
    ;
  inherit (import ./fault.nix)
    at
    fault
    meant
    wrong
    ;
  types = import ./types.nix;

  chars = text: filter (part: isString part && part != "") (split "" text);
  lower = replaceStrings (chars "ABCDEFGHIJKLMNOPQRSTUVWXYZ") (chars "abcdefghijklmnopqrstuvwxyz");

  # A name as a part of an id.
  word = name: concatStringsSep "-" (filter (part: isString part && part != "") (split "[^a-z0-9_]+" (lower name)));

  isName = value: (isString value && value != "") || isInt value;

  # The values of an axis by name.
  axis =
    path: value:
    let
      odd = filter (entry: !(isName entry)) value;
      names = map toString value;
      twice = filter (name: length (groupBy (n: n) names).${name} > 1) names;
    in
    if value == [ ] || value == { } then
      fault path "at least one value" "none"
    else if isAttrs value && value.type or null != "derivation" then
      value
    else if !(isList value) then
      wrong path "a list of strings and numbers, or an attribute set of values by name" value
    else if odd != [ ] then
      wrong path "strings and numbers (other values by name, in an attribute set)" (head odd)
    else if twice != [ ] then
      fault path "each value once" "${builtins.toJSON (head twice)} more than once"
    else
      listToAttrs (
        map (entry: {
          name = toString entry;
          value = entry;
        }) value
      );

  # Some cells, each the name of a value by axis.
  cells =
    path: axes: whole: value:
    let
      check =
        index: cell:
        let
          here = "${path}[${toString index}]";
          unknown = attrNames (removeAttrs cell (attrNames axes));
          missing = attrNames (removeAttrs axes (attrNames cell));
          odd = filter (name: !(isName cell.${name})) (attrNames cell);
          other = filter (name: !(axes.${name} ? ${toString cell.${name}})) (attrNames cell);
        in
        if !(isAttrs cell) then
          wrong here "an attribute set" cell
        else if unknown != [ ] then
          fault here "only the axes ${concatStringsSep ", " (attrNames axes)}" (meant (attrNames axes) (head unknown))
        else if odd != [ ] then
          wrong (at here (head odd)) "the name of a value" cell.${head odd}
        else if whole && missing != [ ] then
          fault (at here (head missing)) "the name of a value" "nothing"
        else if !whole && other != [ ] then
          fault (at here (head other)) "one of ${concatStringsSep ", " (attrNames axes.${head other})}" (
            meant (attrNames axes.${head other}) (toString cell.${head other})
          )
        else
          mapAttrs (_: toString) cell;
    in
    if isList value then builtins.genList (index: check index (elemAt value index)) (length value) else wrong path "a list of attribute sets" value;

  product =
    axes: foldl' (found: name: concatLists (map (cell: map (label: cell // { ${name} = label; }) (attrNames axes.${name})) found)) [ { } ] (attrNames axes);
in
arguments: make:
let
  axes = mapAttrs (name: axis "matrix.${name}") (
    removeAttrs arguments [
      "include"
      "exclude"
      "prefix"
    ]
  );
  prefix = arguments.prefix or "";
  order = attrNames axes;
  excluded = cells "matrix.exclude" axes false (arguments.exclude or [ ]);
  included = cells "matrix.include" axes true (arguments.include or [ ]);
  isExcluded = cell: builtins.any (some: intersectAttrs some cell == some) excluded;
  chosen = filter (cell: !(isExcluded cell)) (product axes) ++ included;

  idOf = cell: concatStringsSep "-" ((if prefix == "" then [ ] else [ prefix ]) ++ map (name: word cell.${name}) order);
  byId = groupBy idOf chosen;
  ids = attrNames byId;
  same = filter (id: length byId.${id} > 1) ids;
  odd = filter (id: !(types.isId id)) ids;

  describe = cell: concatStringsSep ", " (map (name: "${name} ${cell.${name}}") order);
  entry =
    cell:
    let
      made = make (mapAttrs (name: label: axes.${name}.${label} or label) cell);
    in
    if isAttrs made && (made ? command || made ? jobs) then { description = describe cell; } // made else made;
in
if !(isAttrs arguments) then
  wrong "matrix" "an attribute set of axes" arguments
else if !(isString prefix) then
  wrong "matrix.prefix" "a string" prefix
else if order == [ ] then
  fault "matrix" "at least one axis" "none"
else if !(isFunction make || isAttrs make) then
  wrong "matrix" "a function from a cell to a job or target" make
else if chosen == [ ] then
  fault "matrix" "at least one cell" "none (exclude leaves no other)"
else if same != [ ] then
  fault "matrix" "cells with ids of their own" "${head same} more than once (${concatStringsSep "; " (map describe byId.${head same})})"
else if odd != [ ] then
  fault "matrix" types.id.expected (builtins.toJSON (head odd))
else
  mapAttrs (_: cells: entry (head cells)) byId
