"""From sockets to events, complete: numbering, the past and the present as one, keys."""
