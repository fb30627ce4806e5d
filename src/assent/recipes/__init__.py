"""One file per paper: its story told by calling the rooms."""
