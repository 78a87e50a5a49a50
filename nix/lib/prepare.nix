# What is made before jobs run: a derivation's output, or the outputs of a command on the host.
let
  inherit (builtins)
    concatStringsSep
    elem
    elemAt
    filter
    genList
    head
    isString
    length
    match
    seq
    sort
    stringLength
    substring
    unsafeDiscardStringContext
    ;
  inherit (import ./fault.nix)
    fault
    meant
    wrong
    ;
  derivations = import ./derivations.nix;
  types = import ./types.nix;
  place = import ./place.nix;
  node = import ./node.nix;
  text = import ./text.nix;

  relativePath = rec {
    expected = "a path inside the workspace";
    check =
      path: value:
      if isString value && match "[^/]+(/[^/]+)*" value != null && match "(.*/)?[.][.]?(/.*)?" value == null then
        value
      else
        wrong path expected value;
  };

  outputPaths =
    let
      list = types.listOf relativePath;
      areApart =
        path: outputs:
        let
          sorted = sort (a: b: "${a}/" < "${b}/") outputs;
          isIn = a: b: substring 0 (stringLength a + 1) "${b}/" == "${a}/";
          clashes = filter (i: isIn (elemAt sorted i) (elemAt sorted (i + 1))) (genList (i: i) (length sorted - 1));
          upper = elemAt sorted (head clashes);
          lower = elemAt sorted (head clashes + 1);
        in
        if clashes == [ ] then
          outputs
        else
          fault path "outputs that are apart" (
            if upper == lower then "\"${upper}\" more than once" else "\"${upper}\" and \"${lower}\", which is in it"
          );
    in
    {
      inherit (list) expected;
      check =
        path: value:
        if value == [ ] then wrong path "at least one path inside the workspace" value else areApart path (list.check path value);
    };

  fields = types.record (
    place.fields
    // {
      drv = {
        type = types.anything;
        default = null;
        lazy = true;
      };
      output = {
        type = types.nullOr types.words;
        default = null;
      };
      residency = {
        type = types.oneOf [
          "local"
          "remote"
        ];
        default = "local";
      };
      hostCommand = {
        type = types.record {
          command = {
            type = types.text;
            lazy = true;
          };
          outputs.type = outputPaths;
          inputs = {
            type = types.listOf (import ./glob.nix);
            default = [ ];
          };
        };
        default = null;
      };
      guestPath = {
        type = types.nullOr (import ./guest.nix).path;
        default = null;
      };
      timeoutSecs = {
        type = types.positive;
        default = 3600;
      };
      description = {
        type = types.nullOr types.words;
        default = null;
      };
    }
  );

  outputOf =
    path: prepare: drv:
    let
      outputs = drv.outputs or [ "out" ];
      output = if prepare.output == null then drv.outputName or "out" else prepare.output;
    in
    if elem output outputs then output else fault "${path}.output" "one of the outputs ${concatStringsSep ", " outputs}" (meant outputs output);

  described = node: prepare: if prepare.description == null then node else node // { inherit (prepare) description; };
in
{
  check =
    path: _id: entry:
    let
      checked = place.check path (fields.check path entry);
    in
    seq checked (
      if entry ? drv && entry ? hostCommand then
        fault path "either drv or hostCommand" "both"
      else if !(entry ? drv || entry ? hostCommand) then
        fault path "either drv or hostCommand" "neither"
      else if entry ? hostCommand && (entry ? output || entry ? residency) then
        fault "${path}.${if entry ? output then "output" else "residency"}" "this key only beside drv" "it beside hostCommand"
      else if checked.residency == "remote" && checked.placement == "local" then
        fault "${path}.residency" "\"local\" where placement is \"local\"" "\"remote\""
      else
        checked
    );

  # The node of a prepare with a drv, and its key in the context of a text.
  fromDerivation =
    path: system: prepare:
    let
      drv = derivations.checked "${path}.drv" system prepare.drv;
      output = outputOf path prepare drv;
      drvPath = unsafeDiscardStringContext drv.drvPath;
      known = derivations.outPath "${path}.drv" drv (drv.${output} or drv);
      plain = described (node.derivation drvPath output known) prepare;
    in
    {
      inherit path;
      outPath = known;
      key = "${drvPath}^${output}";
      node = plain // {
        inherit (prepare) placement;
        placement_config = place.config prepare;
        prepare = plain.prepare // {
          inherit (prepare) residency;
          timeout_secs = prepare.timeoutSecs;
        };
      };
      extra = [ ];
    };

  # known: see context.nix.
  fromHostCommand =
    path: id: prepare: known:
    let
      command = text.argument "${path}.hostCommand.command" prepare.hostCommand.command known [ ];
    in
    {
      inherit path;
      key = null;
      outPath = null;
      extra = command.nodes;
      node = described {
        kind = "prepare";
        inherit id;
        description = id;
        depends_on = map (node: node.id) command.nodes;
        inherit (prepare) placement;
        placement_config = place.config prepare;
        prepare = {
          type = "host_command";
          command = command.text;
          inherit (prepare.hostCommand) outputs;
          timeout_secs = prepare.timeoutSecs;
        }
        // (if prepare.hostCommand.inputs == [ ] then { } else { inherit (prepare.hostCommand) inputs; });
      } prepare;
    };
}
