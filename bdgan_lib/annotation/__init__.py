"""From samples to annotated samples."""
