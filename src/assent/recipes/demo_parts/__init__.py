"""What the demo needs besides the library: its text, its small language model and its rule."""
