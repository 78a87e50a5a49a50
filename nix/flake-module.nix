# For flake-parts: targets defined in perSystem, in any number of modules, and the flake output `pikaci` made of them.
#
# Values are merged here and checked by mkCatalog, whose messages name `targets.<id>...` as without flake-parts. Values that
# a catalog doesn't evaluate (derivations, commands) aren't evaluated here either.
{
  config,
  flake-parts-lib,
  getSystem,
  lib,
  ...
}:
let
  inherit (builtins)
    all
    concatMap
    elem
    filter
    isAttrs
    isList
    ;
  inherit (lib)
    last
    literalExpression
    mergeEqualOption
    mkOption
    mkOptionType
    types
    ;
  pikaci = import ./lib;
  known = (import ./lib/types.nix).systems;

  # Any value: sets are merged as `set` does, lists are joined, and other values must be equal.
  merged =
    set:
    mkOptionType {
      name = "pikaci";
      description = "what pikaci's mkCatalog takes";
      check = _: true;
      merge =
        loc: defs:
        if all (def: isAttrs def.value && !(def.value ? outPath)) defs then
          set.merge loc defs
        else if all (def: isList def.value) defs then
          concatMap (def: def.value) defs
        else
          mergeEqualOption loc defs;
    };

  # Keys of a record are evaluated when needed. Ids aren't lazy: `mkIf false` omits one.
  value = merged (types.lazyAttrsOf value);
  byId = merged (types.attrsOf value);

  target = merged (types.lazyAttrsOf targetKey);
  targetKey = value // {
    merge = loc: (if last loc == "prepare" || last loc == "jobs" then byId else value).merge loc;
  };
in
{
  _class = "flake";

  options = {
    pikaci = {
      systems = mkOption {
        type = value;
        default = filter (system: elem system known) config.systems;
        defaultText = literalExpression "those of `systems` that pikaci knows";
        description = "Systems that the targets are for.";
      };
      lanes = mkOption {
        type = value;
        default = null;
        example = literalExpression "./ci/forge-lanes.toml";
        description = "The lanes file: which targets CI runs automatically, and when.";
      };
      images = mkOption {
        type = byId;
        default = { };
        example.pikaci-runner.alias = "pikaci/dev";
        description = "Guest images by role.";
      };
      hosts = mkOption {
        type = byId;
        default = { };
        example.build1.address = "build1.example";
        description = "Remote hosts by name.";
      };
    };

    perSystem = flake-parts-lib.mkPerSystemOption {
      _file = ./flake-module.nix;
      options.pikaci.targets = mkOption {
        type = merged (types.attrsOf target);
        default = { };
        example = literalExpression ''
          {
            check = {
              prepare.tool.drv = self'.packages.tool;
              jobs.test = {
                needs = [ "tool" ];
                command = "$PIKACI_INPUT_TOOL/bin/tool --test";
              };
            };
          }
        '';
        description = ''
          Targets by id, as `mkCatalog` takes them. Definitions of several modules are merged: sets key by key, lists joined.
        '';
      };
    };

    flake.pikaci = mkOption {
      type = types.lazyAttrsOf types.raw;
      description = "The catalog and the plans of each system: see {option}`perSystem.pikaci.targets`.";
    };
  };

  config.flake.pikaci = pikaci.mkCatalog {
    inherit (config.pikaci)
      hosts
      images
      lanes
      systems
      ;
    targets = system: (getSystem system).pikaci.targets;
  };
}
