"""Video, image grids, animations and comparison pictures."""
