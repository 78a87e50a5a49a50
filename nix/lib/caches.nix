# Directories that a job finds again as an earlier one left them: caches.
let
  inherit (builtins) attrNames map;
  inherit (import ./fault.nix) fault;
  types = import ./types.nix;

  fields = types.record {
    path.type = types.shaped "a path that is absolute or begins with \"~/\", without \"..\"" "(~?/([^/.][^/]*|[.][^/.][^/]*)(/([^/.][^/]*|[.][^/.][^/]*))*)";
    key = {
      type = types.listOf (import ./glob.nix);
      default = [ ];
    };
    scope = {
      type = types.oneOf [
        "target"
        "repository"
      ];
      default = "repository";
    };
    sizeMib = {
      type = types.positive;
      default = 4096;
    };
  };
in
{
  fields.caches = {
    type = types.namedBy "an attribute set of caches" (path: _: entry: fields.check path entry);
    default = { };
  };

  plan =
    { path, job, ... }:
    if job.caches == { } then
      { }
    else if job.runtime == "tart" then
      fault "${path}.caches" "no caches where runtime is \"tart\" (macOS has no overlays)" (
        builtins.concatStringsSep ", " (attrNames job.caches)
      )
    else
      {
        execute.caches = map (name: {
          inherit name;
          inherit (job.caches.${name}) path key scope;
          size_mib = job.caches.${name}.sizeMib;
        }) (attrNames job.caches);
      };
}
