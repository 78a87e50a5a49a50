"""What alembic runs: the steps, in the transaction that `migrate` has begun."""

from __future__ import annotations

from alembic import context

from pika_git.persistence.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,  # SQLite alters a table by making it anew
    transactional_ddl=False,
)
context.run_migrations()
