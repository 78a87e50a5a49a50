# Generates the page of the modules' options, from their declarations.
#
#   nix eval --raw --impure --expr 'import ./nix/docs.nix <nixpkgs>' > docs/nixos-options.md
#
# Only the module system of nixpkgs is used (`lib`): no package is evaluated, nothing is built.
nixpkgs:
let
  lib = import (nixpkgs + "/lib");

  evaluated = lib.evalModules {
    modules = [
      ./modules
      {
        _module = {
          check = false; # the rest of NixOS isn't there
          args.pkgs = throw "a default needs packages: give it a defaultText";
        };
      }
    ];
  };

  options = lib.sort (a: b: a.loc < b.loc) (
    lib.filter (option: option.visible && !option.internal) (lib.optionAttrSetToDocList evaluated.options.pikaci)
  );

  example = value: value.text or (lib.generators.toPretty { } value);
  code = label: value: ''

    ${label}:

    ```nix
    ${lib.removeSuffix "\n" (example value)}
    ```
  '';
  # Short values on a line of their own.
  given = label: value: if lib.hasInfix "\n" (example value) then code label value else "\n${label}: `${example value}`\n";

  section =
    option:
    ''
      ## `${option.name}`

      ${lib.trim (option.description.text or option.description)}

      Type: ${option.type}
    ''
    + lib.optionalString (option ? default) (given "Default" option.default)
    + lib.optionalString (option ? example) (given "Example" option.example);
in
''
  # Options of the NixOS modules

  <!-- Made by nix/docs.nix from nix/modules: change it there. -->

  What the modules are for is told in [nixos.md](nixos.md).

  ${lib.concatMapStringsSep "\n" section options}''
