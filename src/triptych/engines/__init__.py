"""Language engines: pure functions of texts, loaded only where a policy asks for them."""
