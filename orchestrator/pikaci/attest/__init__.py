"""Provenance: what a run built and from what, as in-toto and SLSA spell it, signed and checked.

A statement says what the run has on record. Whether that is still so is what checking it shows.
"""
