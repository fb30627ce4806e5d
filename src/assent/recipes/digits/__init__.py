"""The digits testbed: a diffusion model small enough for two cores, on real handwritten digits."""
