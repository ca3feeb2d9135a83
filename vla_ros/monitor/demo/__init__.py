"""The demo: episodes, their conductor, progress and report."""
