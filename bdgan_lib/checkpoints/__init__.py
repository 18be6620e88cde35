"""Weights of others: fetched, read without running anything, compared key by key."""
