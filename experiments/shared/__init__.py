"""What several rooms use: errors, checks of arguments, files, Markdown, costs, and the style of figures."""
