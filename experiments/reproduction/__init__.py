"""Published results over several seeds, and the table of all of them."""
