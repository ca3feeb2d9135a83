"""Rosbag2 bags of any origin, read within bounds: a bag is untrusted data."""
