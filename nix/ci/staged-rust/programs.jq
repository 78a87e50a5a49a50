# What cargo says it compiled, as lines: package, its directory in the workspace, "test" or "bin", a name, the file.
# $metadata is what `cargo metadata --no-deps` says of the workspace.
$metadata[0] as $workspace
| (reduce $workspace.packages[] as $package ({}; .[$package.id] = $package)) as $packages
| select(.reason == "compiler-artifact" and .executable != null)
| $packages[.package_id] as $package
| select($package != null)
| select(.profile.test or .target.kind == ["bin"])
| [
    $package.name,
    ($package.manifest_path
      | ltrimstr($workspace.workspace_root) | ltrimstr("/") | rtrimstr("Cargo.toml") | rtrimstr("/")
      | if . == "" then "." else . end),
    (if .profile.test then "test" else "bin" end),
    (if .profile.test then "\(.target.name)-\(.target.kind[0])" else .target.name end),
    .executable
  ]
| @tsv
