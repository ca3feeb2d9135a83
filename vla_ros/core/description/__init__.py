"""What a robot says of itself, in its URDF and on its topics: to draft its YAML, and to check it."""
