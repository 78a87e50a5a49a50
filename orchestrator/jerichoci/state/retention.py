"""How long things are kept."""

from __future__ import annotations

KEEP_SECS = 24 * 3600.0
"""How long `--keep` keeps guests and the directories of runs on hosts."""
