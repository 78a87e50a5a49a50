"""The worker: claims lanes, has `pikaci` run them, and reports what became of them."""
