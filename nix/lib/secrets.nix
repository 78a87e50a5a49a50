# What a job may know and others may not: where pikaci finds it, never the value itself.
let
  inherit (builtins)
    attrNames
    concatStringsSep
    filter
    head
    isAttrs
    isString
    length
    map
    match
    ;
  inherit (import ./fault.nix) at fault wrong;
  types = import ./types.nix;

  place = types.shaped "a path that is absolute or begins with \"~/\"" "(/|~/).+";
  inTree = types.shaped "a path inside the repository" "[^/~].*";

  sources = {
    file = place;
    env = types.shaped "the name of a variable" "[A-Za-z_][A-Za-z0-9_]*";
    command = types.words;
    credential = types.shaped "the name of a credential (no \"/\")" "[^/]+";
    age = types.record {
      file.type = inTree;
      identity.type = place;
    };
    sops = types.record {
      file.type = inTree;
      key = {
        type = types.nullOr types.words;
        default = null;
      };
    };
  };

  source = {
    type = types.anything;
    default = null;
  };

  fields = types.record (
    builtins.mapAttrs (_: _: source) sources
    // {
      branches = {
        type = types.listOf (import ./glob.nix);
        default = [ ];
      };
    }
  );

  secret =
    path: name: entry:
    let
      checked = fields.check path entry;
      given = filter (kind: checked.${kind} != null) (attrNames sources);
      kind = head given;
    in
    if match "[A-Z][A-Z0-9_]*" name == null then
      fault path "a name of upper-case letters, digits and \"_\", a letter first" (builtins.toJSON name)
    else if length given != 1 then
      fault path "one of ${concatStringsSep ", " (attrNames sources)}" (
        if given == [ ] then "none" else concatStringsSep " and " given
      )
    else
      {
        inherit name kind;
        source = sources.${kind}.check "${path}.${kind}" checked.${kind};
        inherit (checked) branches;
      };
in
{
  fields.secrets = {
    type = {
      expected = "an attribute set of secrets";
      check =
        path: value:
        if !isAttrs value then
          wrong path "an attribute set of secrets" value
        else
          types.forceAll value (map (name: builtins.deepSeq (secret (at path name) name value.${name}) true) (attrNames value));
    };
    default = { };
  };

  plan =
    { path, job, ... }:
    let
      names = attrNames job.secrets;
      given = map (name: secret "${path}.secrets.${name}" name job.secrets.${name}) names;
      one =
        entry:
        {
          inherit (entry) name kind branches;
        }
        // (if isString entry.source then { value = entry.source; } else { value = entry.source.file; })
        // (if entry.kind == "age" then { inherit (entry.source) identity; } else { })
        // (if entry.kind == "sops" then { inherit (entry.source) key; } else { });
    in
    if names == [ ] then
      { }
    else if job.runtime == "tart" then
      fault "${path}.secrets" "no secrets where runtime is \"tart\" (what a VM is given lies on the disk of its Mac)" (
        concatStringsSep ", " names
      )
    else
      { execute.secrets = map one given; };
}
