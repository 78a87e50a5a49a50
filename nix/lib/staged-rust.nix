# stagedRust: a target whose jobs run programs of a Rust workspace, built in two stages (see ../ci/staged-rust.nix).
#
# It returns a mark with its arguments. The catalog expands it, as it knows the target's path for error messages.
# Targets made from the same derivations share their two prepare nodes.
let
  inherit (builtins)
    attrNames
    concatStringsSep
    filter
    head
    intersectAttrs
    isAttrs
    isList
    isString
    mapAttrs
    match
    removeAttrs
    replaceStrings
    seq
    ;
  inherit (import ./fault.nix) fault wrong;
  types = import ./types.nix;

  stages = {
    workspace-deps = "Dependencies of the workspace, compiled";
    workspace-build = "Test programs of the workspace";
  };

  set = expected: {
    inherit expected;
    check = path: value: if isAttrs value then value else wrong path expected value;
  };

  lazily = {
    type = types.anything;
    lazy = true;
  };

  stage = lazily // {
    type = lazily.type // {
      expected = "a derivation";
    };
  };

  own = {
    # The function of ../ci that built it.
    kind = {
      type = types.oneOf [
        "linux-rust"
        "apple-rust"
      ];
      default = "linux-rust";
    };
    workspaceDeps = stage;
    workspaceBuild = stage;
    jobs.type = set "an attribute set of jobs";
    job = {
      type = set "an attribute set of what all jobs have in common";
      default = { };
    };
    staging = {
      type = set "an attribute set of what both prepares have in common";
      default = { };
    };
    prepare = {
      type = set "an attribute set of prepares";
      default = { };
    };
  };

  # Keys of the target, unchanged; checked with the target.
  passed = mapAttrs (_: _: lazily // { default = null; }) {
    title = null;
    description = null;
    trigger = null;
    preconditions = null;
    snapshot = null;
    reuse = null;
  };

  arguments = types.record (own // passed);

  wrapper = rec {
    expected = "the name of a program under bin of workspaceBuild";
    check = path: value: if isString value && match "[A-Za-z0-9_][A-Za-z0-9._+-]*" value != null then value else wrong path expected value;
  };

  words = types.listOf types.string;

  quote = word: if match "[A-Za-z0-9_./:=@%+,-]+" word != null then word else "'${replaceStrings [ "'" ] [ "'\\''" ] word}'";

  wrapperKeys = [
    "wrapper"
    "arguments"
  ];

  # A job runs its wrapper, or its own command. Arguments may hold derivations, so they are evaluated with the command.
  running =
    path: id: job:
    let
      program = wrapper.check "${path}.wrapper" (job.wrapper or "run-${id}");
      rest = map quote (words.check "${path}.arguments" (job.arguments or [ ]));
      odd = filter (key: job ? ${key}) wrapperKeys;
    in
    if !(job ? command) then
      seq program { command = concatStringsSep " " ([ "exec \"$PIKACI_INPUT_WORKSPACE_BUILD/bin/${program}\"" ] ++ rest); }
    else if odd == [ ] then
      { }
    else
      fault path "either a command, or a wrapper with its arguments" "command and ${head odd}";

  waiting =
    job:
    let
      needs = job.needs or [ ];
    in
    if isList needs then { needs = attrNames stages ++ needs; } else { };

  expandJob =
    path: shared: id: job:
    let
      all = shared // job;
    in
    if isAttrs job then removeAttrs all wrapperKeys // running "${path}.jobs.${id}" id all // waiting all else job;
in
{
  stagedRust = arguments: { __stagedRust = arguments; };

  # The target of a mark, with the other attributes beside the mark.
  expand =
    path: marked:
    let
      given = marked.__stagedRust;
      checked = arguments.check path given;
      taken = attrNames (intersectAttrs stages checked.prepare);
      staged = mapAttrs (
        id: description:
        {
          inherit description;
          guestPath = "/staged/${checked.kind}/${id}";
        }
        // checked.staging
      ) stages;
    in
    if taken != [ ] then
      fault "${path}.prepare.${head taken}" "an id that isn't one of stagedRust's own" "\"${head taken}\""
    else
      intersectAttrs passed given
      // {
        prepare = checked.prepare // {
          workspace-deps = staged.workspace-deps // {
            drv = checked.workspaceDeps;
          };
          workspace-build = staged.workspace-build // {
            drv = checked.workspaceBuild;
          };
        };
        jobs = mapAttrs (expandJob path checked.job) checked.jobs;
      }
      // removeAttrs marked [ "__stagedRust" ];
}
