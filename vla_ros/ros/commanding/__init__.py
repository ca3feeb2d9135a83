"""Who may command the robot, who says stop, and the outputs that commands leave by."""
