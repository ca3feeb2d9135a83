"""Rosbags: recorded, read, repaired, replayed, cut into episodes for datasets, and planned from without a robot."""
