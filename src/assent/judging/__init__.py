"""Judges, rubrics as data files, and what judging costs."""
