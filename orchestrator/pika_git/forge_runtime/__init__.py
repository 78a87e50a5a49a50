"""What the forge does by itself: it sees pushes, plans runs, and looks at the clock."""
