"""The emotion surface: scores of short texts, of conversations, and of a chat with a model."""
