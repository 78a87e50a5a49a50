"""The forge: turns a push into a verdict. It owns the queue; `pikaci` runs the lanes."""
