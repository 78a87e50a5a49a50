# A Rust workspace in two stages, for jobs on Linux.
import ./staged-rust.nix { kind = "linux-rust"; }
