"""What a run left, told after it: what failed and why, and a page of all of it."""
