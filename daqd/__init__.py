"""daqd."""
