"""What a machine has for pikaci, and what to do about what it hasn't."""
