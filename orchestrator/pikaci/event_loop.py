"""asyncio without TLS, which no command speaks by it: `ssl` takes as long to import as the rest."""

from __future__ import annotations

import sys

if "asyncio" not in sys.modules and "ssl" not in sys.modules:
    # As in a Python that is built without it, which asyncio knows.
    sys.modules["ssl"] = None  # type: ignore[assignment]
    try:
        import asyncio
    finally:
        del sys.modules["ssl"]
else:
    import asyncio

__all__ = ["asyncio"]
