"""Every benchmark, one file each."""
