"""Recovery of damaged bags."""
