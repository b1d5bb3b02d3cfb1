"""The stages of the governed path, one verb per file. A stage decides; what it needs is handed in."""
