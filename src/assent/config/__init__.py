"""Run files: models, dotted overrides, nearest-key errors, schema."""
