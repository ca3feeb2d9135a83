"""Datasets to train on: demonstrations, wordings, questions, and the export of bags."""
