# The types of a catalog's values. A type has `expected`, words for an error, and `check path value`, which returns the
# value or throws. A checked value is checked completely, except a record's `lazy` fields: those may hold derivations, and
# are checked when they are used.
#
# A type that returns values unchanged also has `ok value`. Nearly all values are valid, so `ok` is called first, and paths
# are only made for invalid values: a catalog of hundreds of targets is evaluated at each command.
let
  inherit (builtins)
    all
    attrNames
    attrValues
    concatStringsSep
    elem
    elemAt
    filter
    genList
    hasContext
    intersectAttrs
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

  scalar = expected: ok: {
    inherit expected ok;
    check = path: value: if ok value then value else wrong path expected value;
  };

  # Null for a type that changes values.
  okOf = type: make: if type ? ok then { ok = make type.ok; } else { };

  alternatives =
    words:
    let
      last = length words - 1;
    in
    "${concatStringsSep ", " (genList (elemAt words) last)} or ${elemAt words last}";

  matching = expected: pattern: scalar expected (value: isString value && match pattern value != null);
in
rec {
  inherit scalar;

  # forceAll result values: result, once every one of values has been checked.
  forceAll = result: values: seq (all (value: seq value true) values) result;

  isId = value: isString value && stringLength value <= 64 && match "[a-z0-9][a-z0-9_-]*" value != null;

  systems = [
    "x86_64-linux"
    "aarch64-linux"
    "x86_64-darwin"
    "aarch64-darwin"
  ];

  anything = scalar "a value" (_: true) // {
    blind = true;
  };
  bool = scalar "true or false" isBool;
  string = scalar "a string" isString;
  text = scalar "a non-empty string" (value: isString value && value != "");

  # A text that a plan records unchanged: no prepare would make a store path in it.
  words = text // {
    ok = value: isString value && value != "" && !(hasContext value);
    check =
      path: value:
      if hasContext (text.check path value) then fault path "a string that mentions nothing in the store" (show value) else value;
  };

  # Strings that match a pattern.
  shaped =
    expected: pattern:
    let
      ok = value: words.ok value && match pattern value != null;
    in
    {
      inherit expected ok;
      check =
        path: value:
        if ok value then
          value
        else if text.ok value && hasContext value then
          words.check path value
        else
          wrong path expected value;
    };

  positive = scalar "a positive integer" (value: isInt value && value > 0);
  natural = scalar "an integer from 0 up" (value: isInt value && value >= 0);
  id = scalar "an id (lower-case letters, digits, \"-\" and \"_\", at most 64, a letter or digit first)" isId;

  # An id that is only looked up among ids.
  reference = id // {
    ok = isString;
    check = path: value: if isString value then value else id.check path value;
  };
  # The names of network interfaces that Linux and Incus allow.
  interface = matching "the name of a network interface (2 to 15 letters, digits, \".\", \"_\" and \"-\", no \".\" or \"-\" first)" "[A-Za-z0-9_][A-Za-z0-9._-]{1,14}";
  alias = matching "an image's alias (letters, digits, \".\", \"_\", \"-\" and \"/\", a letter or digit first)" "[A-Za-z0-9][A-Za-z0-9._/-]*";
  host = matching "a host name or ssh alias" "[A-Za-z0-9_][A-Za-z0-9._@-]*";

  nullOr =
    type:
    okOf type (ok: value: value == null || ok value)
    // {
      expected = "${type.expected} or null";
      check = path: value: if value == null then null else type.check path value;
    };

  oneOf = choices: rec {
    ok = value: elem value choices;
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

  listOf =
    type:
    let
      expected = "a list, each ${type.expected}";
      each =
        path: value:
        let
          checked = genList (index: type.check "${path}[${toString index}]" (elemAt value index)) (length value);
        in
        forceAll checked checked;
    in
    okOf type (ok: value: isList value && all ok value)
    // {
      inherit expected;
      check = path: value: if isList value then each path value else wrong path expected value;
    };

  # An attribute set from ids to the sets that `check path id value` returns.
  namedBy = namedWith id;

  # The same, from names of this type.
  namedWith = type: expected: check: {
    inherit expected;
    check =
      path: value:
      if !isAttrs value then
        wrong path expected value
      else
        let
          checked = mapAttrs (
            name: entry:
            if !type.ok name then fault (at path name) type.expected (clip (toJSON name)) else check (at path name) name entry
          ) value;
        in
        seq (all isAttrs (attrValues checked)) checked;
  };

  # An attribute set with these keys and no others. A field is { type; default?; lazy?; }; without a default it must be there.
  record =
    fields:
    let
      names = attrNames fields;
      required = filter (name: !(fields.${name} ? default)) names;
      defaults = mapAttrs (_: field: field.default) (removeAttrs fields required);
      isLazy = name: fields.${name}.lazy or false;

      # `anything` needs no check.
      isBlind = name: fields.${name}.type ? blind;
      isPlain = name: fields.${name}.type ? ok && !(isLazy name);
      plain = mapAttrs (_: field: field.type.ok) (removeAttrs fields (filter (name: isBlind name || !(isPlain name)) names));
      eager = removeAttrs others (filter isLazy names);
      others = removeAttrs fields (filter (name: isBlind name || isPlain name) names);

      # Other fields are checked below.
      seemsRight =
        value:
        isAttrs value
        && removeAttrs value names == { }
        && all (name: plain.${name} value.${name}) (attrNames (intersectAttrs value plain))
        && (required == [ ] || all (name: value ? ${name}) required);

      complete =
        if others == { } then
          _: value: defaults // value
        else
          path: value:
          let
            shaped = intersectAttrs others value;
            checked = mapAttrs (name: fields.${name}.type.check (at path name)) shaped;
          in
          if shaped == { } then
            defaults // value
          else
            forceAll (defaults // value // checked) (attrValues (intersectAttrs eager checked));

      blame =
        path: value:
        let
          unknown = attrNames (removeAttrs value names);
          missing = filter (name: !(value ? ${name})) required;
          expected = if names == [ ] then "no keys" else "only the keys ${concatStringsSep ", " names}";
          check = name: fields.${name}.type.check (at path name) value.${name};
        in
        if !isAttrs value then
          wrong path "an attribute set" value
        else if unknown != [ ] then
          fault path expected (meant names (elemAt unknown 0))
        else if missing != [ ] then
          fault (at path (elemAt missing 0)) fields.${elemAt missing 0}.type.expected "nothing"
        else
          forceAll null (map check (attrNames (intersectAttrs value plain)));
    in
    {
      expected = "an attribute set";
      check = path: value: if seemsRight value then complete path value else blame path value;
    };
}
