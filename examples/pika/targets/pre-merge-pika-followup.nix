# What is slower than the core's tests and rarely breaks.
{ staged }:
staged {
  title = "check-pika-followup";
  description = "Lint, doc tests and the desktop app's build";
  trigger = "branch";
  jobs = {
    clippy.command = ''"$PIKACI_INPUT_WORKSPACE_DEPS/bin/run-cargo" clippy --workspace -- -D warnings'';
    doc-tests.command = ''"$PIKACI_INPUT_WORKSPACE_DEPS/bin/run-cargo" test --workspace --doc'';
    pika-desktop = { };
  };
}
