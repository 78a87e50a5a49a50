# What a catalog's values may be. A type is `expected`, words for an error, and `check path value`, which gives the value
# or throws. A checked value is checked all through, but for a record's `lazy` fields: those may hold derivations, and are
# checked when somebody looks.
let
  inherit (builtins)
    attrNames
    attrValues
    concatStringsSep
    elem
    elemAt
    filter
    foldl'
    genList
    hasContext
    isAttrs
    isBool
    isInt
    isList
    isString
    length
    mapAttrs
    match
    removeAttrs
    seq
    stringLength
    toJSON
    toString
    ;
  inherit (import ./fault.nix)
    at
    clip
    fault
    meant
    show
    wrong
    ;

  scalar = expected: fits: {
    inherit expected;
    check = path: value: if fits value then value else wrong path expected value;
  };

  alternatives =
    words:
    let
      last = length words - 1;
    in
    "${concatStringsSep ", " (genList (elemAt words) last)} or ${elemAt words last}";

  matching = expected: pattern: scalar expected (value: isString value && match pattern value != null);
in
rec {
  # forceAll result values: result, once every one of values has been checked.
  forceAll = foldl' (done: value: seq value done);

  isId = value: isString value && match "[a-z0-9][a-z0-9_-]*" value != null && stringLength value <= 64;

  systems = [
    "x86_64-linux"
    "aarch64-linux"
    "x86_64-darwin"
    "aarch64-darwin"
  ];

  anything = scalar "a value" (_: true);
  bool = scalar "true or false" isBool;
  string = scalar "a string" isString;
  text = scalar "a non-empty string" (value: isString value && value != "");

  # A text that a plan records as it is: a store path in it would be one that no prepare makes.
  words = text // {
    check =
      path: value:
      if hasContext (text.check path value) then fault path "a string that mentions nothing in the store" (show value) else value;
  };
  positive = scalar "a positive integer" (value: isInt value && value > 0);
  natural = scalar "an integer from 0 up" (value: isInt value && value >= 0);
  id = scalar "an id (lower-case letters, digits, \"-\" and \"_\", at most 64, a letter or digit first)" isId;
  host = matching "a host name or ssh alias" "[A-Za-z0-9_][A-Za-z0-9._@-]*";

  nullOr = type: {
    expected = "${type.expected} or null";
    check = path: value: if value == null then null else type.check path value;
  };

  oneOf = choices: rec {
    expected = alternatives (map toJSON choices);
    check =
      path: value:
      if elem value choices then
        value
      else if isString value then
        fault path expected (meant choices value)
      else
        wrong path expected value;
  };

  listOf = type: rec {
    expected = "a list, each ${type.expected}";
    check =
      path: value:
      if !isList value then
        wrong path expected value
      else
        let
          checked = genList (index: type.check "${path}[${toString index}]" (elemAt value index)) (length value);
        in
        forceAll checked checked;
  };

  # An attribute set from ids to what `check path id value` gives.
  namedBy = expected: check: {
    inherit expected;
    check =
      path: value:
      if !isAttrs value then
        wrong path expected value
      else
        let
          checked = mapAttrs (
            name: entry:
            if !isId name then fault (at path name) id.expected (clip (toJSON name)) else check "${path}.${name}" name entry
          ) value;
        in
        forceAll checked (attrValues checked);
  };

  # An attribute set with these keys and no others. A field is { type; default?; lazy?; }; without a default it must be there.
  record =
    fields:
    let
      names = attrNames fields;
      required = filter (name: !(fields.${name} ? default)) names;
      defaults = mapAttrs (_: field: field.default) (removeAttrs fields required);
      lazy = filter (name: fields.${name}.lazy or false) names;
      expected = if names == [ ] then "no keys" else "only the keys ${concatStringsSep ", " names}";
    in
    {
      expected = "an attribute set";
      check =
        path: value:
        if !isAttrs value then
          wrong path "an attribute set" value
        else
          let
            unknown = attrNames (removeAttrs value names);
            missing = filter (name: !(value ? ${name})) required;
            checked = mapAttrs (name: fields.${name}.type.check (at path name)) value;
          in
          if unknown != [ ] then
            fault path expected (meant names (elemAt unknown 0))
          else if missing != [ ] then
            fault (at path (elemAt missing 0)) fields.${elemAt missing 0}.type.expected "nothing"
          else
            forceAll (defaults // checked) (attrValues (removeAttrs checked lazy));
    };
}
