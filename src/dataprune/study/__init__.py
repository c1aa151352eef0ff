"""Trials, grids and what they show: which part of the data matters, how much of it can go, and at what price."""
