"""Datasets for training: demonstrations, wordings, questions, and the export of bags."""
