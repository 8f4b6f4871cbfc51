"""What all sockets that serve have in common: keys, who was refused, who is in the way."""
