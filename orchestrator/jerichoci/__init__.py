"""The engine: runs plans and keeps their records."""
