"""The LeRobotDataset format, read and written."""
