"""Video, image grids, animations and comparison pictures: pixels for people."""
