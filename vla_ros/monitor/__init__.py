"""What an observer makes of a running graph: episodes, latencies, reports, pictures. Without torch and ROS."""
