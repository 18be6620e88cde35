"""Class-conditional generators behind one protocol: latents from seeds, images and features from latents."""
