"""Shows a run while it runs: sinks of one event stream.

stdout carries data only (`json`, `jsonl`). Text for people goes to stderr: live on a terminal, one
line for each event elsewhere.
"""
