"""The one trainer and what surrounds a step: gradient combination, curricula, reward-gradient loops."""
