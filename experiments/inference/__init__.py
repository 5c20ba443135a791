"""Images a second of every back end."""
