"""The vocabulary: frozen values and the rules about them. No I/O, nothing but stdlib and msgspec."""
