"""Callbacks that record a trace in trainings by Hugging Face, Lightning and Accelerate; each module imports its library."""
