"""The configuration of the daemon, from the file to what a board sets its chips to."""
