"""What single blocks of a generator know."""
