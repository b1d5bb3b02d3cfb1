"""The clinical surface: chat, messages and the control plane of a health-care org."""
