# Throws for a mistake in a catalog: one sentence with the attribute, what was expected and what was found.
let
  inherit (builtins) isAttrs length match stringLength substring toJSON toString typeOf;

  nearest = import ./nearest.nix;

  clip = text: if stringLength text > 80 then "${substring 0 76 text}...\"" else text;

  show =
    value:
    {
      string = "the string ${clip (toJSON value)}";
      int = "the integer ${toString value}";
      float = "the number ${toJSON value}";
      bool = "the boolean ${toJSON value}";
      null = "null";
      path = "the path ${toString value}";
      lambda = "a function";
      list = if value == [ ] then "an empty list" else "a list of ${toString (length value)}";
      set = if isAttrs value && value.type or null == "derivation" then "a derivation" else "an attribute set";
    }
    .${typeOf value} or "a value of type ${typeOf value}";

  # An empty path stands for mkCatalog's own arguments.
  fault =
    path: expected: found:
    throw "pikaci: ${if path == "" then "mkCatalog" else path}: expected ${expected}, found ${found}";
in
{
  inherit clip fault show;

  # fault path expected value: the wrong value itself.
  wrong = path: expected: value: fault path expected (show value);

  # found, with a suggestion among names.
  meant =
    names: name:
    let
      close = nearest names name;
    in
    if close == null then clip (toJSON name) else "${clip (toJSON name)} (did you mean ${toJSON close}?)";

  # The path of an attribute; a name that is no plain word is quoted.
  at =
    path: name:
    let
      word = if match "[A-Za-z0-9_-]+" name != null then name else toJSON name;
    in
    if path == "" then word else "${path}.${word}";
}
