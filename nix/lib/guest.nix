# Paths of inputs in a guest.
let
  inherit (builtins)
    any
    concatStringsSep
    elem
    elemAt
    filter
    genList
    head
    isString
    length
    match
    sort
    stringLength
    substring
    ;
  inherit (import ./fault.nix) fault show wrong;

  # Nothing may be mounted at or below these.
  closed = [
    "/artifacts"
    "/bin"
    "/boot"
    "/dev"
    "/etc"
    "/lib"
    "/lib64"
    "/nix"
    "/proc"
    "/run"
    "/sbin"
    "/sys"
    "/tmp"
    "/usr"
    "/workspace"
  ];

  # Nothing may be mounted at these.
  kept = [
    "/home"
    "/root"
    "/var"
  ];

  # Nor, in a macOS guest, at or below these, where only macOS writes.
  ofMacos = [
    "/System"
    "/Volumes"
    "/home"
    "/net"
    "/private"
  ];

  within = parent: path: substring 0 (stringLength parent + 1) "${path}/" == "${parent}/";

  normal = path: match "(/[A-Za-z0-9_.+@=-]+)+" path != null && match ".*/[.][.]?(/.*)?" path == null;

  areApart =
    path: inputs:
    let
      sorted = sort (a: b: "${a.guestPath}/" < "${b.guestPath}/") inputs;
      pairs = genList (index: {
        upper = elemAt sorted index;
        lower = elemAt sorted (index + 1);
      }) (if inputs == [ ] then 0 else length inputs - 1);
      clashes = filter (pair: within pair.upper.guestPath pair.lower.guestPath) pairs;
      clash = elemAt clashes 0;
    in
    clashes == [ ]
    ||
      fault path "guest paths that are apart" "\"${clash.upper.name}\" at ${clash.upper.guestPath} and \"${clash.lower.name}\" at ${clash.lower.guestPath}";
in
{
  inherit closed kept;

  path = rec {
    expected = "an absolute path in the guest";
    check =
      path: value:
      if !isString value then
        wrong path expected value
      else if !(normal value) then
        fault path "an absolute path of plain names, without \"..\", \"//\" or a slash at its end" (show value)
      else if elem (head (match "(/[^/]+).*" value)) closed || elem value kept then
        fault path "a path clear of ${concatStringsSep ", " (closed ++ kept)}" (show value)
      else
        value;
  };

  # The path of the prepare in a guest of this runtime; null in an Incus guest means its store path.
  pathOf =
    runtime: id: prepare:
    if prepare.guestPath != null then
      prepare.guestPath
    else if runtime == "incus" && prepare.hostCommand == null then
      null
    else
      "/staged/${id}";

  # True if inputs { name; guestPath; } fit in a guest of this runtime: no path is reserved, and none is at or below
  # another. Otherwise throws.
  haveRoom =
    runtime: path: inputs:
    let
      isOfMacos = input: any (place: within place input.guestPath) ofMacos;
      lost = if runtime == "tart" then filter isOfMacos inputs else [ ];
      input = head lost;
    in
    if lost == [ ] then
      length inputs < 2 || areApart path inputs
    else
      fault path "guest paths that a Mac has room for, clear of ${concatStringsSep ", " ofMacos}" "\"${input.name}\" at ${input.guestPath}";
}
