"""What is kept of runs: records, events, logs, and the store that reads them."""
