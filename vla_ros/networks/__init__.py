"""Torch modules: tensors in, tensors out. Nothing else of this package enters here."""
