# The programs and variables that a job has of its host and of the store: packages, passEnv.
let
  inherit (builtins)
    elem
    elemAt
    filter
    genList
    groupBy
    isList
    length
    map
    match
    substring
    ;
  inherit (import ./fault.nix) fault wrong;
  types = import ./types.nix;
  packages = import ./packages.nix;

  set = [
    "PATH"
    "HOME"
    "PWD"
  ];

  # Names of variables, each once, and none that pikaci sets.
  passed = rec {
    expected = "a list of names of variables";
    check =
      path: names:
      let
        at = index: "${path}[${toString index}]";
        odd = filter (index: !(builtins.isString (elemAt names index)) || match "[A-Za-z_][A-Za-z0-9_]*" (elemAt names index) == null) (
          genList (index: index) (length names)
        );
        own = filter (name: substring 0 7 name == "PIKACI_" || elem name set) names;
        byName = groupBy (name: name) names;
        twice = filter (name: length byName.${name} > 1) (builtins.attrNames byName);
      in
      if !(isList names) then
        wrong path expected names
      else if odd != [ ] then
        wrong (at (elemAt odd 0)) "the name of a variable" (elemAt names (elemAt odd 0))
      else if own != [ ] then
        fault path "names of variables that pikaci doesn't set itself" "\"${elemAt own 0}\""
      else if twice != [ ] then
        fault path "each name once" "\"${elemAt twice 0}\" more than once"
      else
        names;
  };
in
{
  fields = {
    packages = {
      type = types.anything;
      default = [ ];
      lazy = true;
    };
    passEnv = {
      type = passed;
      default = [ ];
    };
  };

  plan =
    {
      path,
      job,
      system,
      ...
    }:
    let
      nodes = if job.packages == [ ] then [ ] else packages "${path}.packages" system job.packages;
    in
    {
      inherit nodes;
      execute =
        (if nodes == [ ] then { } else { path = map (node: node.id) nodes; })
        // (if job.passEnv == [ ] then { } else { pass_env = job.passEnv; });
    };
}
