# The project generator: what it generates has to build.
{ staged }:
staged {
  title = "check-rmp";
  description = "Project generator: generates a project and looks at it";
  trigger = "branch";
  jobs.rmp-init-smoke.writableWorkspace = true;
}
