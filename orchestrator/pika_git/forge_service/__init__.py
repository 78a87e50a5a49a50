"""What people ask of the forge: what it shows, and what they change."""
