"""What a world model expects, what was seen instead, and how unusual that is."""
