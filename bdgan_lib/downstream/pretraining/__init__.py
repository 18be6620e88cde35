"""Initialisations of a backbone: pre-trained here by ten methods, or read from their authors' checkpoints."""
