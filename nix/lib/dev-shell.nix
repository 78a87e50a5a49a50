# The environment of a development shell: devShell.
#
# It is a derivation of the plan like any other: that of the shell, whose script is replaced by one that writes down what
# `nix develop` would have. So its output is known beforehand, is built with all others, and is there in guests.
let
  inherit (builtins) isAttrs removeAttrs unsafeDiscardStringContext;
  inherit (import ./fault.nix) fault wrong;
  node = import ./node.nix;
  types = import ./types.nix;

  environment =
    drv:
    derivation (
      removeAttrs drv.drvAttrs [
        "allowedReferences"
        "allowedRequisites"
        "disallowedReferences"
        "disallowedRequisites"
        "outputChecks"
        "outputHash"
        "outputHashAlgo"
        "outputHashMode"
      ]
      // {
        name = "${drv.name}-env";
        args = [ ./get-env.sh ];
        outputs = [ "out" ];
        preferLocalBuild = true;
      }
    );
in
{
  fields.devShell = {
    type = types.anything;
    default = null;
    lazy = true;
  };

  plan =
    {
      path,
      job,
      system,
      ...
    }:
    let
      drv = job.devShell;
      env = environment drv;
      planned = node.derivation (unsafeDiscardStringContext env.drvPath) "out" (unsafeDiscardStringContext env.outPath);
    in
    if drv == null then
      { }
    else if !(isAttrs drv && drv.type or null == "derivation" && drv ? drvAttrs) then
      wrong "${path}.devShell" "a derivation, such as self.devShells.${system}.default" drv
    else if drv.system != system then
      fault "${path}.devShell" "a derivation for ${system}" "${drv.name}, which is for ${drv.system}"
    else
      {
        nodes = [ planned ];
        execute.dev_shell = {
          node_id = planned.id;
          bash = unsafeDiscardStringContext "${drv.drvAttrs.builder}";
        };
      };
}
