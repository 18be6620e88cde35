"""The pocket world: a small procedural stand-in for ImageNet, and the networks and recipes that live in it."""
