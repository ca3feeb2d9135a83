"""Published checkpoints into model folders, without running anything they hold."""
