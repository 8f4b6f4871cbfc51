"""ZeroMQ sockets with keys, requests, and who may connect."""
