"""Experiments: many small trainings, each result on disk as soon as it is there, one JSON in the end."""
