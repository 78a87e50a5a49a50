"""What pages and the API show, as rows: each function is one statement and changes nothing.

Rows that name a row which is gone are shown all the same, so joins are outer ones. Values come as
SQLite has them: JSON is text here, and a damaged row may have any type anywhere.
"""

from __future__ import annotations

from sqlalchemy import Row

__all__ = ["Row"]
