"""What back ends share: words and their comparisons, compressors and counts, and what all of it costs."""
