"""Observing a running graph: episodes, latencies, reports, images. Needs neither torch nor ROS."""
