"""Known row formats to comparisons and back, detection, quarantine of bad rows."""
