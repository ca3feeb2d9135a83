"""A node's process: start, signals, threads, priority, end."""
