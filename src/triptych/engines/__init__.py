"""Language engines: what they need is loaded when it is needed, and runs beside the gateway."""
