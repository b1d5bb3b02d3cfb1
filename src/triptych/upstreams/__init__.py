"""What answers a governed call: providers over HTTP/1.1, and the sandbox inside the process."""
