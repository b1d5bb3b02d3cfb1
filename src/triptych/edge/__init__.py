"""The HTTP edge: one HTTP/1.1 server protocol, routing, and what a request and a reply are."""
