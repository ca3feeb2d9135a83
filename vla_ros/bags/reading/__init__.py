"""Rosbag2 bags of any origin, read within bounds: a bag is data, and may have been made to harm."""
