"""The numbers of the house: types, contracts, streams, chunks, guard. There is no ROS in here."""
