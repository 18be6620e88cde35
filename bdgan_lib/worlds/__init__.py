"""Drawn worlds with exact masks, which stand in for photographs, and the networks that judge them."""
