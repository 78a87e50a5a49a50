# One command, where it runs and how.
let
  inherit (builtins)
    attrNames
    concatMap
    elemAt
    filter
    foldl'
    isAttrs
    isPath
    isString
    listToAttrs
    mapAttrs
    match
    substring
    ;
  inherit (import ./fault.nix)
    at
    clip
    fault
    wrong
    ;
  types = import ./types.nix;
  guest = import ./guest.nix;
  place = import ./place.nix;
  runtime = import ./runtime.nix;
  text = import ./text.nix;
  inOrder = import ./natural.nix;

  # The parts of a job's world, each { fields; plan; }: its keys, and what a job that uses them adds to its plan:
  # { execute = keys of the execute node; nodes = prepare nodes it needs; }, or { }.
  parts = [
    (import ./artifacts.nix)
    (import ./caches.nix)
    (import ./dev-shell.nix)
    (import ./limits.nix)
    (import ./network.nix)
    (import ./secrets.nix)
    (import ./services.nix)
    (import ./tools.nix)
  ];

  fields = types.record (
    place.fields
    // runtime.fields
    // foldl' (fields: part: fields // part.fields) { } parts
    // {
      command = {
        type = types.text;
        lazy = true;
      };
      description = {
        type = types.nullOr types.words;
        default = null;
      };
      needs = {
        type = types.listOf types.reference;
        default = [ ];
      };
      timeoutSecs = {
        type = types.positive;
        default = 3600;
      };
      env = {
        type = environment;
        default = { };
      };
      resources = {
        type = types.record {
          cpus = {
            type = types.nullOr types.positive;
            default = null;
          };
          memoryMib = {
            type = types.nullOr types.positive;
            default = null;
          };
          diskMib = {
            type = types.nullOr types.positive;
            default = null;
          };
          pids = {
            type = types.nullOr types.positive;
            default = null;
          };
        };
        default = {
          cpus = null;
          memoryMib = null;
          diskMib = null;
          pids = null;
        };
      };
      runAsRoot = {
        type = types.bool;
        default = false;
      };
      writableWorkspace = {
        type = types.bool;
        default = true;
      };
      retries = {
        type = types.record {
          infrastructure = {
            type = types.natural;
            default = 1;
          };
          test = {
            type = types.natural;
            default = 0;
          };
        };
        default = {
          infrastructure = 1;
          test = 0;
        };
      };
    }
  );

  # Values for interpolation. They are checked with the plan, as they may hold derivations.
  value = rec {
    expected = "a string, a path or a derivation";
    check =
      path: value:
      if isString value then
        value
      else if isPath value || (isAttrs value && value.type or null == "derivation") then
        "${value}"
      else
        wrong path expected value;
  };

  environment = rec {
    expected = "an attribute set of strings";
    check =
      path: env:
      if !isAttrs env then
        wrong path expected env
      else
        let
          names = attrNames env;
          odd = filter (name: match "[A-Za-z_][A-Za-z0-9_]*" name == null) names;
          own = filter (name: substring 0 7 name == "PIKACI_") names;
        in
        if odd != [ ] then
          fault (at path (elemAt odd 0)) "a name of letters, digits and \"_\" that starts with no digit" (clip (builtins.toJSON (elemAt odd 0)))
        else if own != [ ] then
          fault "${path}.${elemAt own 0}" "a name that doesn't start with PIKACI_, which pikaci sets itself" "\"${elemAt own 0}\""
        else
          mapAttrs (name: value.check "${path}.${name}") env;
  };
in
{
  check = path: images: entry: runtime.check path images (place.check path (fields.check path entry));

  # The job's execute node, and the prepare nodes of store paths in its texts.
  plan =
    {
      path,
      id,
      job,
      prepares,
      known,
      nixosImage,
      system,
    }:
    let
      needed = filter (need: prepares ? ${need}) job.needs;
      jobs = filter (need: !(prepares ? ${need})) job.needs;
      inputs = map (need: {
        node_id = prepares.${need}.node.id;
        inherit (prepares.${need}) env;
        guest_path = guest.pathOf job.runtime need prepares.${need};
      }) needed;
      allowed = filter (outPath: outPath != null) (map (need: prepares.${need}.outPath) needed);
      command = text.argument "${path}.command" job.command known allowed;
      env = mapAttrs (name: value: text.entry "${path}.env.${name}" name value known allowed) job.env;

      world = map (
        part:
        part.plan {
          inherit
            path
            id
            job
            prepares
            known
            allowed
            nixosImage
            system
            ;
        }
      ) parts;

      isNeeded = listToAttrs (
        map (input: {
          name = input.node_id;
          value = null;
        }) inputs
      );
      mentioned = listToAttrs (
        map (node: {
          name = node.id;
          value = node;
        }) (
          command.nodes ++ concatMap (name: env.${name}.nodes) (attrNames env) ++ concatMap (part: part.nodes or [ ]) world
        )
      );
      extra = builtins.attrValues (removeAttrs mentioned (attrNames isNeeded));
    in
    {
      inherit extra;
      node = {
        kind = "execute";
        id = "execute-${id}";
        job_id = id;
        description = if job.description == null then id else job.description;
        depends_on = inOrder (mapAttrs (id: _: id) isNeeded) ++ map (node: node.id) extra ++ map (need: "execute-${need}") jobs;
        inherit (job) placement runtime;
        placement_config = place.config job;
        runtime_config = job.runtimeConfig;
        execute = {
          command = command.text;
          run_as_root = job.runAsRoot;
          timeout_secs = job.timeoutSecs;
          writable_workspace = job.writableWorkspace;
          resources = {
            inherit (job.resources) cpus;
            memory_mib = job.resources.memoryMib;
          }
          // (if job.resources.diskMib == null then { } else { disk_mib = job.resources.diskMib; })
          // (if job.resources.pids == null then { } else { inherit (job.resources) pids; });
          env = mapAttrs (_: value: value.text) env;
          inputs =
            inputs
            ++ map (node: {
              node_id = node.id;
              env = null;
              guest_path = null;
            }) extra;
          inherit (job) retries;
        }
        // foldl' (keys: part: keys // part.execute or { }) { } world;
      };
    };
}
