system:
let
  # What a script leaves in $out. It finds the machine's programs; what it asks for by attributes is environment.
  build =
    name: script: attributes:
    derivation (
      {
        inherit name system;
        builder = "/bin/sh";
        args = [
          "-ec"
          ''
            export PATH=/usr/local/bin:/usr/bin:/bin HOME=/homeless-shelter
            ${script}
          ''
        ];
      }
      // attributes
    );
in
{
  inherit build;
  # A package whose only program is the machine's, by the same name; a dangling link if it has none.
  machine = name: build name "mkdir -p $out/bin; ln -s /usr/bin/${name} $out/bin/${name}" { };
}
