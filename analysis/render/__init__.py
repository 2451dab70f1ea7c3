"""One table value in five formats: terminal, Markdown, LaTeX, CSV, HTML."""
