"""The PHI/DLP guard: recognise, replace by placeholders, put back."""
