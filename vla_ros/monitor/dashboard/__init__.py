"""The dashboard's server and page, without ROS and without the robot."""
