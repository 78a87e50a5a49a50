# The lanes file: which targets CI runs automatically, and when. Data only; the target defines what runs.
let
  inherit (builtins)
    all
    attrNames
    elemAt
    filter
    genList
    groupBy
    isAttrs
    isList
    isPath
    isString
    length
    match
    pathExists
    readFile
    removeAttrs
    seq
    toString
    ;
  inherit (import ./fault.nix) fault show wrong;
  types = import ./types.nix;

  file = types.record {
    version.type = version;
    nightly_schedule_utc = {
      type = types.nullOr clock;
      default = null;
    };
    branch = {
      type = section;
      default.lanes = [ ];
    };
    nightly = {
      type = section;
      default.lanes = [ ];
    };
  };

  version = rec {
    expected = "1";
    check = path: value: if value == 1 then value else wrong path expected value;
  };

  clock = rec {
    expected = "a time of day in UTC as \"HH:MM\"";
    check = path: value: if isString value && match "([01][0-9]|2[0-3]):[0-5][0-9]" value != null then value else wrong path expected value;
  };

  section = types.record {
    lanes = {
      type = laneList;
      default = [ ];
    };
  };

  # Errors name a lane by its id, or by its position if it has none.
  laneList = rec {
    expected = "a list of lanes";
    check =
      path: value:
      if !isList value then
        wrong path expected value
      else
        let
          lanes = genList (
            index:
            let
              entry = elemAt value index;
              id = entry.id or null;
            in
            lane "${path}[${if types.isId id then id else toString index}]" entry
          ) (length value);
        in
        seq (all isAttrs lanes) lanes;
  };

  fields = types.record {
    id.type = types.id;
    title = {
      type = types.nullOr types.words;
      default = null;
    };
    target.type = types.reference;
    paths = {
      type = types.listOf (import ./glob.nix);
      default = [ ];
    };
    concurrency_group = {
      type = types.nullOr types.words;
      default = null;
    };
  };

  lane =
    path: value:
    if isAttrs value && value ? command then
      fault "${path}.command" "a target" "a bare command (make it a job of a target, and name that target here)"
    else if isAttrs value && value ? staged_linux_target then
      if value ? target then
        fault path "either target or staged_linux_target, which mean the same" "both"
      else
        titled path (removeAttrs value [ "staged_linux_target" ] // { target = value.staged_linux_target; })
    else
      titled path value;

  titled =
    path: value:
    let
      checked = fields.check path value;
    in
    if checked.title == null then checked // { title = checked.id; } else checked;

  # Lanes with their path for errors.
  tagged =
    trigger: lanes:
    map (lane: {
      inherit lane trigger;
      path = "lanes.${trigger}.lanes[${lane.id}]";
    }) lanes;

  read =
    path:
    if !(isPath path || isString path) then
      wrong "lanes" "the path of a TOML file" path
    else if !(pathExists path) then
      fault "lanes" "the path of a TOML file" "${show path}, which isn't there"
    else if pathExists "${toString path}/." then
      fault "lanes" "the path of a TOML file" "${show path}, which is a directory"
    else
      builtins.fromTOML (readFile path);

  # A later version may have other keys, so the error is about the version.
  parse =
    values:
    let
      checked = seq (version.check "lanes.version" (values.version or 1)) (file.check "lanes" values);
    in
    if checked.nightly.lanes != [ ] && checked.nightly_schedule_utc == null then
      fault "lanes.nightly_schedule_utc" "${clock.expected}, for the nightly lanes" "nothing"
    else
      {
        inherit (checked) nightly_schedule_utc;
        branch = checked.branch.lanes;
        nightly = checked.nightly.lanes;
      };

  unique =
    lanes:
    let
      entries = tagged "branch" lanes.branch ++ tagged "nightly" lanes.nightly;
      byId = groupBy (entry: entry.lane.id) entries;
      repeated = filter (id: length byId.${id} > 1) (attrNames byId);
      first = elemAt repeated 0;
    in
    if repeated == [ ] then
      lanes // { inherit entries; }
    else
      fault (elemAt byId.${first} 0).path "an id that no other lane has" "${toString (length byId.${first})} lanes with this id";
in
path:
unique (
  if path == null then
    {
      nightly_schedule_utc = null;
      branch = [ ];
      nightly = [ ];
    }
  else
    parse (read path)
)
