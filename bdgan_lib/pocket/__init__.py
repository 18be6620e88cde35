"""The pocket world: a small procedural stand-in for ImageNet, and its networks and recipes."""
