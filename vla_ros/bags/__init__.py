"""Rosbags in and out. Empty until recording and replay arrive."""
