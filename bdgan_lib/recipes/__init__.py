"""How the shipped weights were made; each is a command."""
