"""Measures: win rates, ranking accuracy, benchmarks, diversity, calibration, agreement."""
