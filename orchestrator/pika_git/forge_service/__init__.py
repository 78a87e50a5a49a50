"""What people ask of the forge."""
