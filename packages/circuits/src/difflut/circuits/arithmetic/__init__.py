"""What back ends share: words and their comparisons, the tables that count and choose, and what all of it costs."""
