"""What the forge knows, in SQL: a module for each domain, over one schema."""
