# Remote hosts: how to reach them, and what they have. A plan has the given values without defaults, as the user's own
# file may override them.
let
  inherit (builtins)
    all
    any
    attrNames
    elem
    filter
    hasContext
    isAttrs
    isInt
    isString
    listToAttrs
    mapAttrs
    match
    removeAttrs
    ;
  types = import ./types.nix;

  # The value is recorded unchanged, so it must not mention the store.
  matching = expected: accepts: {
    inherit expected;
    ok = value: isString value && !(hasContext value) && accepts value;
    check = path: value: types.words.check path ((types.scalar expected (value: isString value && accepts value)).check path value);
  };

  like = expected: pattern: matching expected (value: match pattern value != null);

  # An absolute path, or one below a home, of names without these characters.
  isPathWithout = characters: value: match "~?(/[^/\n${characters}]+)+" value != null;
  climbs = value: match ".*/[.][.](/.*)?" value != null;

  pathHere = matching "a path that is absolute or begins with \"~/\"" (isPathWithout "");
  pathThere = matching "a path on the host that is absolute or begins with \"~/\", without \"..\"" (
    value: isPathWithout "" value && !(climbs value)
  );
  directoryThere = matching "a directory on the host that is absolute or begins with \"~/\", without \"..\" and \":\"" (
    value: isPathWithout ":" value && !(climbs value)
  );
  port = types.scalar "a port (1 to 65535)" (value: isInt value && value > 0 && value < 65536);

  # Every key is optional, or null.
  optional =
    fields:
    types.record (
      mapAttrs (_: type: {
        type = types.nullOr type;
        default = null;
      }) fields
    );

  host = optional {
    address = like "the name or IP address of a host" "[A-Za-z0-9_:][A-Za-z0-9._:%-]*";
    inherit port;
    user = like "the name of a user" "[^@: \t\n-][^: \t\n]*";
    key = pathHere;
    fingerprint = like "the fingerprint of a host's key (\"SHA256:\" and 43 characters, as ssh-keygen -l prints)" "SHA256:[A-Za-z0-9+/]{43}";
    proxyJump = like "[user@]host[:port], or several with commas" "[^, \t\n-][^, \t\n]*(,[^, \t\n-][^, \t\n]*)*";
    workDir = pathThere;
    searchPath = types.listOf directoryThere;
    labels = types.listOf types.id;
    lineLimitSecs = types.positive;
    capacity = optional {
      cpus = types.positive;
      memoryMib = types.positive;
      jobs = types.positive;
    };
    keep = optional {
      count = types.natural;
      days = types.natural;
      mib = types.natural;
    };
    incus = optional {
      socket = types.words;
      project = types.words;
      profile = types.words;
      pool = types.words;
    };
    nix = optional { signingKey = pathHere; };
  };

  recorded = {
    lineLimitSecs = "line_limit_secs";
    memoryMib = "memory_mib";
    proxyJump = "proxy_jump";
    searchPath = "search_path";
    signingKey = "signing_key";
    workDir = "work_dir";
  };

  record =
    value:
    if !isAttrs value then
      value
    else
      listToAttrs (
        map (key: {
          name = recorded.${key} or key;
          value = record value.${key};
        }) (filter (key: value.${key} != null) (attrNames value))
      );

  # Whether a node with this `host` or these `labels` may run there.
  suits =
    name: host: node:
    if node.host != null then node.host == name else host.labels != null && all (label: elem label host.labels) node.labels;
in
{
  type = types.namedWith types.host "an attribute set of hosts" (path: _: host.check path);

  # The declaration of each.
  recorded = mapAttrs (_: record);

  # The hosts that one of the nodes may run on, as in a plan.
  planned =
    hosts: nodes:
    let
      remote = filter (node: node.placement == "remote_ssh") nodes;
      others = filter (name: !(any (suits name hosts.${name}) remote)) (attrNames hosts);
    in
    if remote == [ ] then { } else mapAttrs (_: record) (removeAttrs hosts others);
}
