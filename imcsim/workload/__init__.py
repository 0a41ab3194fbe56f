"""Networks as layers and as integers, and the images that they see."""
