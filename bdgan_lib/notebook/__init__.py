"""What notebook cells need: recorded figures, inline pictures, sliders."""
