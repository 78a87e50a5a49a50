# What guests are for: the images that there are, and what is in each.
{
  pikaci-runner = {
    description = "Runs jobs that bring what they need";
    alias = "pikaci/dev";
    # Of a VM's disk in the image, in MiB. It grows to what the host gives the instance, which may not be less.
    diskSize = 4096;
    modules = [ ./image.nix ];
  };
}
