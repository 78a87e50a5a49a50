# What the modules declare, as data: { <option> = { description, hasDefault }; }.
#
# There is no nixpkgs in the tests. This stands in for as much of its `lib` as declarations use, and for nothing of what
# configurations use: types aren't checked, and no system is evaluated (modules.nix does that, by hand).
let
  inherit (builtins)
    attrNames
    concatMap
    foldl'
    isFunction
    listToAttrs
    ;

  type = {
    options = { };
  };
  wrapped = inner: inner;
  lib = {
    inherit types;
    mkOption = option: option // { _type = "option"; };
    mkEnableOption = description: {
      _type = "option";
      default = false;
      description = "Whether to enable ${description}.";
    };
    literalExpression = text: { inherit text; };
  };
  types =
    foldl' (all: name: all // { ${name} = type; }) { } [
      "bool"
      "externalPath"
      "int"
      "package"
      "path"
      "str"
    ]
    // {
      ints.positive = type;
      attrsOf = inner: inner // { below = [ "<name>" ]; };
      listOf = wrapped;
      nullOr = wrapped;
      coercedTo = _: _: _: type;
      enum = _: type;
      oneOf = _: type;
      strMatching = _: type;
      submodule = module: {
        inherit
          (module {
            config = { };
            name = "<name>";
          })
          options
          ;
      };
    };

  walk =
    path: options:
    concatMap (
      name:
      let
        it = options.${name};
        here = path ++ [ name ];
      in
      if it._type or null != "option" then
        walk here it
      else
        [
          {
            name = builtins.concatStringsSep "." here;
            value = {
              inherit (it) description;
              hasDefault = it ? default || it ? defaultText;
            };
          }
        ]
        ++ walk (here ++ (it.type.below or [ ])) (it.type.options or { })
    ) (attrNames options);

  declared =
    file:
    let
      module = import file;
      arguments = {
        inherit lib;
        config = { };
        options = { };
        pkgs = throw "a declaration needs packages";
      };
    in
    assert isFunction module;
    walk [ ] (module arguments).options;
in
listToAttrs (concatMap declared [
  ../../nix/modules/guest.nix
  ../../nix/modules/incus-host.nix
])
