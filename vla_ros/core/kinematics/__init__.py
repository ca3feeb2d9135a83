"""Where the tool is for given joint positions."""
