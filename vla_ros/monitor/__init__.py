"""What an observer makes of a running graph: episodes, latencies, reports, pictures. Neither torch nor ROS in here."""
