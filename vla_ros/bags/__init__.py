"""Rosbags in and out: reading, recording, repair, replay, and episodes for datasets."""
