"""Tart, which runs macOS VMs on Macs, as a host's command line program."""
