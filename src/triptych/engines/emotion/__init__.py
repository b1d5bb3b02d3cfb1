"""Emotion of short texts: one small network of ours, and plain arithmetic on what it says."""
