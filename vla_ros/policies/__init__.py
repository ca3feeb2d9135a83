"""An observation in, a chunk of actions out, around a network. No ROS in here either."""
